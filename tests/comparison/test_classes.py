import json

import numpy as np
import pytest

from fnoise_mmdet.comparison import Condition
from fnoise_mmdet.comparison.average_precision import average_precision, match_detections
from fnoise_mmdet.comparison.classes import class_precision, class_tables, precision_group


@pytest.fixture
def files(shapes, make_detections, tmp_path):
    """Annotations of 16 images without one of the five classes, and detections."""
    truth = json.loads((shapes / 'annotations/instances_train.json').read_text())
    truth['annotations'] = [one for one in truth['annotations'] if one['category_id'] != 2]
    truth['annotations'][3]['iscrowd'] = 1
    ann_file, results = tmp_path / 'truth.json', tmp_path / 'results.json'
    ann_file.write_text(json.dumps(truth))
    results.write_text(json.dumps(make_detections(truth)))
    return ann_file, results


def naive_precision(ann_file, results, category):
    """Interpolated precision at an IoU of 0.5 of one class, box by box."""
    truth, found = json.loads(ann_file.read_text()), json.loads(results.read_text())
    objects = [one for one in truth['annotations'] if one['category_id'] == category]
    taken, outcomes = set(), []
    for one in sorted((one for one in found if one['category_id'] == category), key=lambda one: -one['score']):
        rivals = [
            (iou(one['bbox'], other['bbox'], other['iscrowd']), not other['iscrowd'], other)
            for other in objects
            if other['image_id'] == one['image_id'] and (other['id'] not in taken or other['iscrowd'])
        ]
        good = [rival for rival in rivals if rival[0] >= 0.5]
        if not good:
            outcomes.append(False)
            continue
        best = max(good, key=lambda rival: (rival[1], rival[0]))[2]
        if not best['iscrowd']:
            taken.add(best['id'])
            outcomes.append(True)
    hits = np.cumsum(outcomes)
    recall, precision = hits / sum(not one['iscrowd'] for one in objects), hits / np.arange(1, len(hits) + 1)
    return [max((p for r, p in zip(recall, precision) if r >= at - 1e-12), default=0) for at in np.linspace(0, 1, 101)]


def iou(one, other, crowd):
    (x, y, w, h), (a, b, c, d) = one, other
    shared = max(0, min(x + w, a + c) - max(x, a)) * max(0, min(y + h, b + d) - max(y, b))
    return shared / (w * h if crowd else w * h + c * d - shared)


def test_precision_is_that_of_the_definition(files):
    found = class_precision(*files, 'bbox')
    truth = json.loads(files[0].read_text())
    names = {one['id']: one['name'] for one in truth['categories']}
    assert found.names == [names[category] for category in (1, 3, 4, 5)]  # without the class that has no object
    for place, category in enumerate((1, 3, 4, 5)):
        counted = [one for one in truth['annotations'] if one['category_id'] == category and not one['iscrowd']]
        assert found.objects[place] == len(counted)
        np.testing.assert_allclose(found.precision[place], naive_precision(*files, category), atol=1e-12)


def test_the_mean_over_classes_is_the_ap(files):
    found = class_precision(*files, 'bbox')
    ap, ap50 = average_precision(match_detections(*files, 'bbox'), np.ones((1, 16), dtype=int))[0]
    assert found.ap.mean() == pytest.approx(ap) and found.precision.mean() == pytest.approx(ap50)


def test_chart_and_table(files, tmp_path, make_detections):
    other = tmp_path / 'other.json'
    other.write_text(json.dumps(make_detections(json.loads(files[0].read_text()), seed=1)))
    one, two = class_precision(*files, 'bbox'), class_precision(files[0], other, 'bbox')
    classes = {'bbox': {'a': [one, two], 'b': [two]}}
    ((chart,),) = precision_group([Condition(name, [], []) for name in 'ab'], classes).rows
    assert [line.label for line in chart.lines] == ['a', 'b'] and chart.lines[0].x[50] == 0.5
    curves = np.array([one.precision.mean(axis=0), two.precision.mean(axis=0)])
    np.testing.assert_allclose(chart.lines[0].mean, curves.mean(axis=0))
    np.testing.assert_allclose(chart.lines[0].low, curves.min(axis=0))
    ((kind, table),) = class_tables(['a', 'b'], classes)
    assert kind == 'box' and table.heads == ['class', 'objects', 'a', 'b', 'b − a']
    (section,) = table.sections
    counts = [int(row.cells[1]) for row in section.rows]
    assert counts == sorted(one.objects, reverse=True)
    place = one.names.index(section.rows[0].cells[0])
    mean = (one.ap[place] + two.ap[place]) / 2
    assert section.rows[0].cells[2:4] == [f'{mean:.3f}', f'{two.ap[place]:.3f}']


def test_nothing_without_detections(files):
    assert precision_group([], {}) is None and class_tables(['a'], {}) == []
    files[1].write_text('[]')
    found = class_precision(*files, 'bbox')
    assert len(found.names) == 4 and not found.precision.any() and not found.ap.any()

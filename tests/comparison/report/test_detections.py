import json

import numpy as np

from fnoise_mmdet.comparison.average_precision import AP50, match_detections
from fnoise_mmdet.comparison.report.detections import _marks, choose_images, outline
from fnoise_mmdet.datasets.ground_truth import read_ground_truth
from fnoise_mmdet.visualization import Detection, mark_outcomes
from fnoise_mmdet.visualization.outcomes import by_score


def detections(rows):
    boxes = [(one, *one['bbox']) for one in rows]
    return [Detection((x, y, x + w, y + h), str(one['category_id']), one.get('score')) for one, x, y, w, h in boxes]


def test_true_positives_are_those_of_coco(shapes, make_detections, tmp_path):
    """Of all images, as pycocotools counts them at an IoU of 0.5."""
    ann_file, file = shapes / 'annotations/instances_train.json', tmp_path / 'results.json'
    results = make_detections(json.loads(ann_file.read_text()))
    file.write_text(json.dumps(results))
    expected = sum(int(table.hit[AP50].sum()) for table in match_detections(ann_file, file, 'bbox'))
    coco = read_ground_truth(ann_file)
    hits = 0
    for image in coco.getImgIds():
        found = detections(one for one in results if one['image_id'] == image)
        marked = mark_outcomes(detections(coco.loadAnns(coco.getAnnIds([image]))), found)
        hits += sum(one.outcome == 'true positive' for one in marked)
    assert hits == expected > 0


def test_images_are_chosen_by_what_they_show():
    scores = np.array([[0.5, 0.5], [0.2, 0.9], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.3, 0.5]])
    with_objects = np.array([True, True, False, True, True, True])  # an image without objects is no success
    assert choose_images(scores, with_objects, 4) == [
        (1, 'largest disagreement'),
        (4, 'best image'),
        (3, 'worst image'),
        (5, 'disagreement'),
    ]
    assert [place for place, _ in choose_images(scores, with_objects, 99)] == [1, 4, 3, 5, 0, 2]
    alone = choose_images(scores[:, :1], with_objects, 2)
    assert alone == [(4, 'best image'), (3, 'worst image')]
    assert choose_images(np.zeros((2, 2)), np.zeros(2, bool), 3) == [(0, 'validation image'), (1, 'validation image')]


def test_marks_are_the_outcomes_at_every_threshold():
    """Of 40 detections near 12 objects, against outcomes that are computed anew from what is above a threshold."""
    rng = np.random.default_rng(0)

    def some(number, scored):
        places = rng.integers(0, 60, (number, 2))
        labels = rng.choice(['a', 'b'], number)
        scores = rng.uniform(0.05, 1, number) if scored else [None] * number
        return [
            Detection((x, y, x + 20, y + 20), str(label), score) for (x, y), label, score in zip(places, labels, scores)
        ]

    objects, crowds, ordered = some(12, False), some(1, False), by_score(some(40, True))
    marks = _marks(objects, ordered, crowds)
    names = {'hit': 'true positive', 'false': 'false positive', 'missed': 'missed'}
    seen = set()
    for threshold in (0.05, 0.3, 0.6, 0.9, 1.0):
        above = [one for one in ordered if one.score >= threshold]
        expected = [(one.outcome, one.label, one.box[:2]) for one in mark_outcomes(objects, above, crowds=crowds)]
        shown = [(names[one.kind], one.label, one.box[:2]) for one in marks if one.is_shown(threshold)]
        assert sorted(shown) == sorted(expected)
        seen |= {outcome for outcome, *_ in shown}
    assert seen == set(names.values())


def test_outline_of_a_mask():
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 10:20] = True
    assert outline(mask) == 'M10 5L10 14L19 14L19 5Z'
    assert outline(np.zeros((4, 4), dtype=bool)) == ''

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fnoise_mmdet.comparison.average_precision import (
    average_precision,
    draw_resamples,
    match_detections,
    read_detections,
)
from fnoise_mmdet.errors import InputError


@pytest.fixture
def files(shapes, make_detections, tmp_path):
    """Annotations of 16 images with a crowd among them, and detections."""
    truth = json.loads((shapes / 'annotations/instances_train.json').read_text())
    truth['annotations'][3]['iscrowd'] = 1
    ann_file, result_file = tmp_path / 'truth.json', tmp_path / 'results.json'
    ann_file.write_text(json.dumps(truth))
    result_file.write_text(json.dumps(make_detections(truth)))
    return ann_file, result_file


def pycocotools_ap(truth, results):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), 'bbox')
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    return evaluation.stats[:2]


def test_all_images_once_is_cocos_figure(files):
    ann_file, result_file = files
    expected = pycocotools_ap(json.loads(ann_file.read_text()), json.loads(result_file.read_text()))
    found = average_precision(match_detections(*files, 'bbox'), np.ones((1, 16), dtype=int))
    np.testing.assert_allclose(found[0], expected, atol=1e-12)
    assert 0.05 < found[0, 0] < found[0, 1] < 0.95


@pytest.mark.parametrize('new_id', [lambda old: old - 1, lambda old: -old, lambda old: f'5f1c-{old:04d}'])
def test_ids_of_annotations_do_not_matter(files, new_id):
    ann_file = files[0]
    expected = average_precision(match_detections(*files, 'bbox'), np.ones((1, 16), dtype=int))
    truth = json.loads(ann_file.read_text())
    for one in truth['annotations']:
        one['id'] = new_id(one['id'])
    ann_file.write_text(json.dumps(truth))
    np.testing.assert_array_equal(
        average_precision(match_detections(*files, 'bbox'), np.ones((1, 16), dtype=int)), expected
    )


def test_no_detection_is_ap_0(files):
    files[1].write_text('[]')
    assert not average_precision(match_detections(*files, 'bbox'), np.ones((1, 16), dtype=int)).any()


def test_a_resample_is_cocos_figure_for_the_images_repeated(files):
    """Against the evaluation of a data set in which each image stands as often as it was drawn."""
    truth, results = (json.loads(file.read_text()) for file in files)
    tables, weights = match_detections(*files, 'bbox'), draw_resamples(16, 5)
    found = average_precision(tables, weights)
    for row, drawn in zip(found, weights):
        repeated = dict(truth, images=[], annotations=[])
        detections = []
        for image, times in zip(sorted(truth['images'], key=lambda one: one['id']), drawn):
            for _ in range(times):
                new = len(repeated['images']) + 1
                repeated['images'].append(dict(image, id=new))
                for one in truth['annotations']:
                    if one['image_id'] == image['id']:
                        identity = len(repeated['annotations']) + 1
                        repeated['annotations'].append(dict(one, image_id=new, id=identity))
                detections += [dict(one, image_id=new) for one in results if one['image_id'] == image['id']]
        np.testing.assert_allclose(row, pycocotools_ap(repeated, detections), atol=1e-12)


def test_images_are_drawn_with_replacement_and_the_same_every_time():
    drawn = draw_resamples(50, 1000)
    assert (drawn.sum(axis=1) == 50).all() and drawn.max() > 2
    np.testing.assert_array_equal(drawn, draw_resamples(50, 1000))
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.15)  # 5 standard errors of a Poisson mean


def test_masks(files):
    """The annotations themselves as detections are found without a fault."""
    ann_file, result_file = files
    truth = json.loads(ann_file.read_text())
    coco = COCO(str(ann_file))
    masks = [
        dict(image_id=one['image_id'], category_id=one['category_id'], score=1.0, segmentation=coco.annToRLE(one))
        for one in truth['annotations']
    ]
    for one in masks:
        if isinstance(one['segmentation']['counts'], bytes):
            one['segmentation']['counts'] = one['segmentation']['counts'].decode()
    result_file.write_text(json.dumps(masks))
    found = average_precision(match_detections(ann_file, result_file, 'segm'), np.ones((1, 16), dtype=int))
    np.testing.assert_allclose(found, 1.0)


@pytest.mark.parametrize(
    'content',
    [
        '{"a": 1}',
        '[1]',
        '[{"image_id": 1, "category_id": 1, "score": "x", "bbox": [0, 0, 1, 1]}]',
        '[{"image_id": [1], "category_id": 1, "score": 1, "bbox": [0, 0, 1, 1]}]',
        '[{"image_id": 1, "category_id": 1, "score": 1, "bbox": [0, 0, 1]}]',
        '[{"image_id": 1, "category_id": 1, "score": 1}]',
        pytest.param('[' * 100_000, id='deep'),
    ],
)
def test_detections_of_something_else(tmp_path, content):
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(InputError, match="a.json is not a file of detections in COCO's results format"):
        read_detections(tmp_path / 'a.json')

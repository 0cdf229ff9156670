import json

import numpy as np
import pytest
from mmdet.evaluation import CocoMetric

from fnoise_mmdet import CompleteCocoMetric
from fnoise_mmdet.datasets import read_coco
from fnoise_mmdet.datasets.shapes import CLASSES


def results(shapes, detect: bool):
    """Ground truth beside either no detection or the ground truth itself as detections."""
    coco = read_coco(shapes / 'annotations/instances_val.json')
    pairs = []
    for image in coco['images']:
        anns = [ann for ann in coco['annotations'] if detect and ann['image_id'] == image['id']]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (ann['bbox'] for ann in anns)]
        prediction = dict(
            img_id=image['id'],
            bboxes=np.array(corners).reshape(-1, 4),
            scores=np.ones(len(anns)),
            labels=np.array([ann['category_id'] - 1 for ann in anns], dtype=int),
            masks=[dict(ann['segmentation']) for ann in anns],
        )
        pairs.append((dict(width=image['width'], height=image['height'], img_id=image['id']), prediction))
    return pairs


def compute(kind, shapes, detect, ann_file=None):
    metric = kind(ann_file=str(ann_file or shapes / 'annotations/instances_val.json'), metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    return metric.compute_metrics(results(shapes, detect))


@pytest.fixture
def changed(shapes, tmp_path):
    """Write the annotations of the val part with each one changed."""

    def write(change):
        coco = read_coco(shapes / 'annotations/instances_val.json')
        coco['annotations'] = [one for one in coco['annotations'] if change(one) is not False]
        (tmp_path / 'changed.json').write_text(json.dumps(coco))
        return tmp_path / 'changed.json'

    return write


def test_no_detection_is_ap_zero_under_the_same_names(shapes):
    nothing = compute(CompleteCocoMetric, shapes, detect=False)
    perfect = compute(CompleteCocoMetric, shapes, detect=True)
    assert list(nothing) == list(perfect) and not any(nothing.values())
    assert perfect['segm_mAP'] == 1
    assert not compute(CocoMetric, shapes, detect=False), 'mmdet reports nothing: else this class is not needed'


def test_no_detection_of_a_detector_without_masks(shapes):
    metric = CompleteCocoMetric(ann_file=str(shapes / 'annotations/instances_val.json'), metric='bbox')
    metric.dataset_meta = dict(classes=CLASSES)
    pairs = results(shapes, detect=False)
    for _, prediction in pairs:
        del prediction['masks']
    assert metric.compute_metrics(pairs)['bbox_mAP'] == 0


def test_detections_are_scored_as_by_mmdet_but_for_undefined_metrics(shapes):
    of_mmdet = compute(CocoMetric, shapes, True)
    defined = {name: value for name, value in of_mmdet.items() if value != -1}
    assert compute(CompleteCocoMetric, shapes, True) == pytest.approx(defined)
    assert len(defined) < len(of_mmdet), 'there is a size without objects: else this test shows nothing'


@pytest.mark.parametrize('new_id', [lambda old: old - 1, lambda old: old - 3, lambda old: f'5f1c-{old:04d}'])
def test_perfect_detections_have_ap_1_for_any_annotation_ids(shapes, changed, new_id):
    ann_file = changed(lambda one: one.update(id=new_id(one['id'])))
    if isinstance(new_id(1), int):
        assert compute(CocoMetric, shapes, True, ann_file)['bbox_mAP'] < 1, 'else nothing needs to be renumbered'
    metrics = compute(CompleteCocoMetric, shapes, True, ann_file)
    assert metrics['bbox_mAP'] == metrics['segm_mAP'] == 1


def test_a_missing_crowd_flag_and_stray_polygons_are_evaluated(shapes, changed):
    def change(one):
        one.pop('iscrowd')
        x, y, w, h = one['bbox']
        one['segmentation'] = [[5, 5], [x, y, x + w, y, x + w, y + h, x, y + h], [1, 2, 3, 4, 5, 6, 7]]

    metrics = compute(CompleteCocoMetric, shapes, True, changed(change))
    assert metrics['bbox_mAP'] == 1 and 0 < metrics['segm_mAP'] < 1


@pytest.mark.parametrize('change', [lambda one: False, lambda one: one.update(iscrowd=1)])
def test_without_objects_the_ap_is_undefined_and_not_reported(shapes, changed, change, mmlog):
    assert compute(CompleteCocoMetric, shapes, True, changed(change)) == {'objects': 0}
    assert 'AP is undefined and not reported' in mmlog.text
    assert -1 in compute(CocoMetric, shapes, True, changed(change)).values(), 'else this class is not needed for it'


def test_ground_truth_of_the_data_set_is_evaluated_too(shapes):
    coco = read_coco(shapes / 'annotations/instances_val.json')
    pairs = results(shapes, True)
    for truth, prediction in pairs:
        anns = [ann for ann in coco['annotations'] if ann['image_id'] == truth['img_id']]
        truth['anns'] = [
            dict(bbox=list(box), bbox_label=label, mask=ann['segmentation'])
            for ann, box, label in zip(anns, prediction['bboxes'].tolist(), prediction['labels'].tolist())
        ]
    metric = CompleteCocoMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    assert metric.compute_metrics(pairs)['segm_mAP'] == 1
    for truth, _ in pairs:
        truth['anns'] = []
    metric = CompleteCocoMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    assert metric.compute_metrics(pairs) == {'objects': 0}

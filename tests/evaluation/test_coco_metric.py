import numpy as np
import pytest
from mmdet.evaluation import CocoMetric

from fnoise_mmdet import CompleteCocoMetric
from fnoise_mmdet.data import read_coco
from fnoise_mmdet.data.shapes import CLASSES


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


def compute(kind, shapes, detect):
    metric = kind(ann_file=str(shapes / 'annotations/instances_val.json'), metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    return metric.compute_metrics(results(shapes, detect))


def test_no_detection_is_ap_zero_under_the_same_names(shapes):
    nothing = compute(CompleteCocoMetric, shapes, detect=False)
    perfect = compute(CocoMetric, shapes, detect=True)
    assert list(nothing) == list(perfect)
    for metric, value in nothing.items():
        # -1 is COCO's word for a size of which there is no object.
        assert value == (-1 if perfect[metric] == -1 else 0), metric
    assert perfect['segm_mAP'] == 1
    assert not compute(CocoMetric, shapes, detect=False), 'mmdet reports nothing: else this class is not needed'


def test_detections_are_scored_as_by_mmdet(shapes):
    assert compute(CompleteCocoMetric, shapes, True) == pytest.approx(compute(CocoMetric, shapes, True))

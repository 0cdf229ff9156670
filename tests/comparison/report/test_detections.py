import json

import numpy as np

from fnoise_mmdet.comparison.average_precision import AP50, match_detections
from fnoise_mmdet.comparison.report.detections import choose_images
from fnoise_mmdet.datasets.ground_truth import read_ground_truth
from fnoise_mmdet.visualization import Detection, mark_outcomes


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

"""What the models of a comparison detect on the same images."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from ...datasets.ground_truth import read_ground_truth
from ...visualization import Detection, annotated_objects, corners, detections_panel, f1_score, mark_outcomes
from .. import Condition, Run
from .picture import Picture

MOST = 500  # validation images among which pictures are chosen


def detection_pictures(conditions: Sequence[Condition], images: int, threshold: float) -> list[Picture]:
    """Draw ground truth and the detections of each condition's first run on validation images.

    Images are chosen by the F1 score of the detections: the largest
    disagreement between conditions, the best and the worst image, then further
    disagreements. True positives, false positives and missed objects have
    different colours, see :func:`.mark_outcomes`.

    Args:
        conditions: Those of a comparison.
        images: Number of images.
        threshold: Lowest score that is drawn.

    Returns:
        One picture per image; none if a run has left no detections, or the images are not found.
    """
    runs = {condition.name: condition.runs[0] for condition in conditions if condition.runs}
    data = next((run.record.get('data', {}).get('val') for run in runs.values()), None) or {}
    ann_file, folder = Path(data.get('ann_file', '')), Path(data.get('image_folder', ''))
    found = {name: results for name, run in runs.items() if (results := _read_results(run, threshold)) is not None}
    if not found or not ann_file.is_file() or not images:
        return []
    truth = read_ground_truth(ann_file)
    classes = [category['name'] for category in truth.loadCats(truth.getCatIds())]
    infos = truth.loadImgs(sorted(truth.getImgIds())[:MOST])

    def marked(info: dict[str, Any], masks: bool) -> tuple[list[Detection], dict[str, list[Detection]]]:
        objects, crowds = annotated_objects(truth, info['id'], masks)
        detected = {
            name: [_detection(one, truth, masks) for one in results.get(info['id'], [])]
            for name, results in found.items()
        }
        return objects, {name: mark_outcomes(objects, some, crowds=crowds) for name, some in detected.items()}

    by_boxes = [marked(info, masks=False) for info in infos]
    scores = np.array([[f1_score(some) for some in columns.values()] for _, columns in by_boxes])
    with_objects = np.array([bool(objects) for objects, _ in by_boxes], dtype=bool)
    pictures = []
    for place, reason in choose_images(scores, with_objects, images):
        info = infos[place]
        picture = Picture.read(folder / info['file_name'], info['file_name'])
        if picture is None:
            continue
        objects, columns = marked(info, masks=True)
        panel = detections_panel(picture.image, [('ground truth', objects), *columns.items()], classes=classes)
        f1 = ', '.join(f'{name} {score:.2f}' for name, score in zip(columns, scores[place]))
        pictures.append(Picture(f'{info["file_name"]}: {reason} (F1 score: {f1})', panel))
    return pictures


def choose_images(scores: np.ndarray, with_objects: np.ndarray, number: int) -> list[tuple[int, str]]:
    """Choose images by what they show.

    Args:
        scores: F1 score of each image and condition, (I, K).
        with_objects: Whether an image has objects, (I,).
        number: Number of images.

    Returns:
        Index and reason of each image.
    """
    differences, means = np.ptp(scores, axis=1), scores.mean(axis=1)
    disagreeing = [place for place in np.argsort(-differences, kind='stable').tolist() if differences[place] > 0]
    by_mean = [place for place in np.argsort(-means, kind='stable').tolist() if with_objects[place]]
    chosen: dict[int, str] = {}
    for places, reason in (
        (disagreeing[:1], 'largest disagreement'),
        (by_mean[:1], 'best image'),
        (by_mean[-1:], 'worst image'),
        (disagreeing[1:], 'disagreement'),
        (range(len(scores)), 'validation image'),
    ):
        for place in places:
            chosen.setdefault(place, reason)
    return list(chosen.items())[:number]


def _read_results(run: Run, threshold: float) -> dict[int, list[dict[str, Any]]] | None:
    """Return the detections of a run's last validation by image, with masks if it has them."""
    file = run.predictions('segm') or run.predictions('bbox')
    if file is None:
        return None
    results: list[dict[str, Any]] = json.loads(file.read_text(encoding='utf-8'))
    boxes = run.predictions('bbox')
    if 'bbox' not in (results[0] if results else {'bbox': None}) and boxes is not None:
        # mmdet writes masks and boxes in the same order.
        for one, box in zip(results, json.loads(boxes.read_text(encoding='utf-8'))):
            one['bbox'] = box['bbox']
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in results:
        if one['score'] >= threshold:
            by_image[one['image_id']].append(one)
    return by_image


def _detection(one: dict[str, Any], truth: COCO, masks: bool) -> Detection:
    mask = coco_mask.decode(one['segmentation']).astype(bool) if masks and 'segmentation' in one else None
    return Detection(corners(one['bbox']), truth.cats[one['category_id']]['name'], one['score'], mask)

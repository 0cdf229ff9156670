"""What the models of a comparison detect on the same images."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from ...datasets.ground_truth import read_ground_truth
from ...visualization import Detection, annotated_objects, corners, f1_score, mark_outcomes
from ...visualization.outcomes import IN_CROWD, by_score, match_objects
from .. import Condition, Run
from ..average_precision import read_detections
from .picture import Picture

MOST = 500  # validation images among which pictures are chosen
LOWEST = 0.05  # score of the detections that the page can show
OBJECT, HIT, FALSE, MISSED = 'object', 'hit', 'false', 'missed'


class Mark(NamedTuple):
    """An object or a detection on a picture.

    ``kind`` is that of an annotated object, a true or a false positive, or a
    missed object; ``score`` is that of the detection or, for a missed object,
    the score of its matching detection: the object is missed at higher
    thresholds. ``box`` is x, y, width and height in pixels, ``outline`` the mask as
    an SVG path, empty without one.
    """

    kind: str
    label: str
    score: float | None
    box: tuple[float, float, float, float]
    outline: str

    def is_shown(self, threshold: float) -> bool:
        """Return whether it is shown at a threshold of the score."""
        if self.kind == MISSED:
            return self.score is None or self.score < threshold
        return self.score is None or self.score >= threshold


class MarkedPicture(NamedTuple):
    """A picture, and what is annotated and detected in it, by name."""

    picture: Picture
    columns: dict[str, list[Mark]]


def detection_pictures(conditions: Sequence[Condition], images: int, threshold: float) -> list[MarkedPicture]:
    """Collect ground truth and the detections of each condition's first run on validation images.

    Images are chosen by the F1 score of the detections: the largest
    disagreement between conditions, the best and the worst image, then further
    disagreements. Outcomes are those of :func:`.match_objects` by boxes.

    Args:
        conditions: Those of a comparison.
        images: Number of images.
        threshold: Lowest score that counts for the choice.

    Returns:
        One picture per image; none if a run has left no detections, or the images are not found.
    """
    runs = {condition.name: condition.runs[0] for condition in conditions if condition.runs}
    data = next((run.record.get('data', {}).get('val') for run in runs.values()), None) or {}
    ann_file, folder = Path(data.get('ann_file', '')), Path(data.get('image_folder', ''))
    found = {name: results for name, run in runs.items() if (results := _read_results(run)) is not None}
    if not found or not ann_file.is_file() or not images:
        return []
    truth = read_ground_truth(ann_file)
    infos = truth.loadImgs(sorted(truth.getImgIds())[:MOST])

    def detected(info: dict[str, Any], masks: bool) -> dict[str, list[Detection]]:
        return {
            name: by_score([_detection(one, truth, masks) for one in results.get(info['id'], [])])
            for name, results in found.items()
        }

    scores, with_objects = np.zeros((len(infos), len(found))), np.zeros(len(infos), dtype=bool)
    for place, info in enumerate(infos):
        objects, crowds = annotated_objects(truth, info['id'], masks=False)
        with_objects[place] = bool(objects)
        for column, some in enumerate(detected(info, masks=False).values()):
            shown = [one for one in some if (one.score or 0) >= threshold]
            scores[place, column] = f1_score(mark_outcomes(objects, shown, crowds=crowds))
    pictures = []
    for place, reason in choose_images(scores, with_objects, images):
        info = infos[place]
        f1 = ', '.join(f'{name} {score:.2f}' for name, score in zip(found, scores[place]))
        caption = f'{info["file_name"]}: {reason} (F1 score at {threshold:g}: {f1})'
        picture = Picture.read(folder / info['file_name'], caption)
        if picture is None:
            continue
        objects, crowds = annotated_objects(truth, info['id'])
        columns = {'ground truth': [_mark(OBJECT, one, None) for one in objects]}
        columns |= {name: _marks(objects, some, crowds) for name, some in detected(info, masks=True).items()}
        pictures.append(MarkedPicture(picture, columns))
    return pictures


def _marks(objects: Sequence[Detection], ordered: Sequence[Detection], crowds: Sequence[Detection]) -> list[Mark]:
    """Return true and false positives and, before them, the objects that are missed at any threshold."""
    matches = match_objects(*([one._replace(mask=None) for one in some] for some in (objects, ordered, crowds)))
    taken = {match: one.score for one, match in zip(ordered, matches)}
    missed = [_mark(MISSED, one, taken.get(place)) for place, one in enumerate(objects)]
    return missed + [
        _mark(FALSE if match is None else HIT, one, one.score)
        for one, match in zip(ordered, matches)
        if match != IN_CROWD
    ]


def _mark(kind: str, one: Detection, score: float | None) -> Mark:
    x1, y1, x2, y2 = (round(float(value), 1) for value in one.box)
    box = x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)
    return Mark(kind, one.label, score, box, '' if one.mask is None else outline(one.mask))


def outline(mask: np.ndarray) -> str:
    """Return the outline of a mask, bool (H, W), as an SVG path, accurate to one pixel."""
    polygons, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = (cv2.approxPolyDP(polygon, 1, closed=True)[:, 0] for polygon in polygons)
    return ''.join('M' + 'L'.join(f'{x} {y}' for x, y in polygon.tolist()) + 'Z' for polygon in simple)


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


def _read_results(run: Run) -> dict[int, list[dict[str, Any]]] | None:
    """Return the detections of a run's last validation by image, with masks if it has them."""
    file = run.predictions('segm') or run.predictions('bbox')
    if file is None:
        return None
    results = read_detections(file)
    boxes = run.predictions('bbox')
    if 'bbox' not in (results[0] if results else {'bbox': None}) and boxes is not None:
        # mmdet writes masks and boxes in the same order.
        for one, box in zip(results, read_detections(boxes)):
            one['bbox'] = box['bbox']
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in results:
        if one['score'] >= LOWEST:
            by_image[one['image_id']].append(one)
    return by_image


def _detection(one: dict[str, Any], truth: COCO, masks: bool) -> Detection:
    mask = coco_mask.decode(one['segmentation']).astype(bool) if masks and 'segmentation' in one else None
    return Detection(corners(one['bbox']), truth.cats[one['category_id']]['name'], one['score'], mask)

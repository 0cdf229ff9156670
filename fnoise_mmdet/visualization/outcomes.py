"""True and false positives and missed objects of an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from .detections import FALSE_POSITIVE, IOU_THR, MISSED, TRUE_POSITIVE, Detection


def annotated_objects(truth: COCO, image_id: int, masks: bool = True) -> tuple[list[Detection], list[Detection]]:
    """Return the objects and the crowds annotated in an image.

    Args:
        truth: Annotations, see :func:`.read_ground_truth`.
        image_id: Id of the image.
        masks: Whether to decode the masks. Defaults to True.
    """
    found: tuple[list[Detection], list[Detection]] = ([], [])
    for one in truth.loadAnns(truth.getAnnIds([image_id])):
        mask = truth.annToMask(one).astype(bool) if masks and one.get('segmentation') else None
        found[one['iscrowd']].append(
            Detection(corners(one['bbox']), truth.cats[one['category_id']]['name'], None, mask)
        )
    return found


def corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of a box in COCO's format."""
    x, y, width, height = box
    return x, y, x + width, y + height


IN_CROWD = -1  # the match of a detection that counts as neither true nor false


def match_objects(
    objects: Sequence[Detection], detections: Sequence[Detection], crowds: Sequence[Detection] = ()
) -> list[int | None]:
    """Match each detection of an image to an object.

    As in COCO's evaluation at an IoU of 0.5: in descending order of the score,
    a detection is matched to the unmatched object of its class with the highest
    IoU, of masks if all have them, else of boxes. A match therefore does not
    depend on detections with lower scores.

    Args:
        objects: Ground truth.
        detections: Detections of a model in descending order of the score.
        crowds: Regions annotated as crowds.

    Returns:
        For each detection the index of an object, :data:`IN_CROWD` if it matches only a crowd, or None.
    """
    ious, covered = _ious(detections, objects), _ious(detections, crowds, crowd=True)
    free = np.ones(len(objects), dtype=bool)
    matches: list[int | None] = []
    for of_objects, of_crowds in zip(ious, covered):
        rivals = np.where(free, of_objects, 0)
        if rivals.max(initial=0) >= IOU_THR:
            matches.append(int(rivals.argmax()))
            free[rivals.argmax()] = False
        else:
            matches.append(IN_CROWD if of_crowds.max(initial=0) >= IOU_THR else None)
    return matches


def by_score(detections: Sequence[Detection]) -> list[Detection]:
    """Return detections in descending order of the score."""
    return sorted(detections, key=lambda one: -(one.score or 0.0))


def mark_outcomes(
    objects: Sequence[Detection],
    detections: Sequence[Detection],
    crowds: Sequence[Detection] = (),
) -> list[Detection]:
    """Mark each detection of an image as true or false positive, and add the missed objects.

    See :func:`match_objects`. A detection that matches only a crowd is omitted.

    Args:
        objects: Ground truth.
        detections: Detections of a model.
        crowds: Regions annotated as crowds.

    Returns:
        The detections in descending order of the score, then the missed objects.
    """
    ordered = by_score(detections)
    matches = match_objects(objects, ordered, crowds)
    marked = [
        found._replace(outcome=FALSE_POSITIVE if match is None else TRUE_POSITIVE)
        for found, match in zip(ordered, matches)
        if match != IN_CROWD
    ]
    missed = [one for place, one in enumerate(objects) if place not in matches]
    return marked + [one._replace(outcome=MISSED) for one in missed]


def f1_score(marked: Sequence[Detection]) -> float:
    """Return the harmonic mean of precision and recall of an image, 1 without objects and detections."""
    hits = sum(one.outcome == TRUE_POSITIVE for one in marked)
    return 2 * hits / (len(marked) + hits) if marked else 1.0


def _ious(detections: Sequence[Detection], others: Sequence[Detection], crowd: bool = False) -> np.ndarray:
    """Return the IoU of detections with others, (D, N), 0 for another class.

    With crowds it is the share of the detection that they cover.
    """
    if not detections or not others:
        return np.zeros((len(detections), len(others)))
    encode = _run_length if all(one.mask is not None for one in (*detections, *others)) else _in_coco_format
    ious = coco_mask.iou(encode(detections), encode(others), [crowd] * len(others))
    return np.asarray(ious) * [[one.label == other.label for other in others] for one in detections]


def _run_length(some: Sequence[Detection]) -> list[dict[str, Any]]:
    return [coco_mask.encode(np.asfortranarray(one.mask, dtype=np.uint8)) for one in some]


def _in_coco_format(some: Sequence[Detection]) -> np.ndarray:
    return np.array([[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in (one.box for one in some)], dtype=float)

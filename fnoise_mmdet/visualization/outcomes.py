"""True and false positives and missed objects of an image."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from .detections import OUTCOMES, Detection

TRUE_POSITIVE, FALSE_POSITIVE, MISSED = OUTCOMES


def annotated_objects(truth: COCO, image_id: int, masks: bool = True) -> tuple[list[Detection], list[Detection]]:
    """Return the objects and the crowds annotated in an image.

    Args:
        truth: Annotations, see :func:`.read_ground_truth`.
        image_id: Id of the image.
        masks: Whether to decode the masks. Defaults to True.
    """
    names = {category['id']: category['name'] for category in truth.dataset['categories']}
    found: tuple[list[Detection], list[Detection]] = ([], [])
    for one in truth.loadAnns(truth.getAnnIds([image_id])):
        mask = truth.annToMask(one).astype(bool) if masks and one.get('segmentation') else None
        found[one['iscrowd']].append(Detection(corners(one['bbox']), names[one['category_id']], None, mask))
    return found


def corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of a box in COCO's format."""
    x, y, width, height = box
    return x, y, x + width, y + height


def mark_outcomes(
    objects: Sequence[Detection],
    detections: Sequence[Detection],
    iou_thr: float = 0.5,
    crowds: Sequence[Detection] = (),
) -> list[Detection]:
    """Mark each detection of an image as true or false positive, and add the missed objects.

    As in COCO's evaluation at one threshold: in descending order of the score,
    a detection takes the free object of its class with the highest IoU, of
    masks if all have them, else of boxes. A detection that matches only a crowd
    counts as neither and is omitted.

    Args:
        objects: Ground truth.
        detections: Detections of a model.
        iou_thr: Lowest IoU of a match. Defaults to 0.5.
        crowds: Regions annotated as crowds.

    Returns:
        The detections in descending order of the score, then the missed objects.
    """
    free = list(objects)
    marked = []
    for found in sorted(detections, key=lambda one: -(one.score or 0.0)):
        rivals = [one for one in free if one.label == found.label]
        overlaps = _ious(found, rivals)
        if overlaps.size and overlaps.max() >= iou_thr:
            match = rivals[int(overlaps.argmax())]
            free = [one for one in free if one is not match]
            marked.append(found._replace(outcome=TRUE_POSITIVE))
        elif not (_ious(found, [one for one in crowds if one.label == found.label], crowd=True) >= iou_thr).any():
            marked.append(found._replace(outcome=FALSE_POSITIVE))
    return marked + [one._replace(outcome=MISSED) for one in free]


def f1_score(marked: Sequence[Detection]) -> float:
    """Return the harmonic mean of precision and recall of an image, 1 without objects and detections."""
    hits = sum(one.outcome == TRUE_POSITIVE for one in marked)
    return 2 * hits / (len(marked) + hits) if marked else 1.0


def _ious(found: Detection, others: Sequence[Detection], crowd: bool = False) -> np.ndarray:
    """Return the IoU of a detection with others, (N,); with crowds, the share of the detection that they cover."""
    if not others:
        return np.zeros(0)
    if found.mask is not None and all(one.mask is not None for one in others):
        masks = [coco_mask.encode(np.asfortranarray(one.mask, dtype=np.uint8)) for one in (found, *others)]
        return np.asarray(coco_mask.iou(masks[:1], masks[1:], [crowd] * len(others)))[0]
    corners = np.array([one.box for one in (found, *others)], dtype=float)
    boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    return np.asarray(coco_mask.iou(boxes[:1], boxes[1:], [crowd] * len(others)))[0]

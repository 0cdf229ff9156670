"""COCO's average precision on resampled images.

AP is not a mean over images: there is one precision-recall curve for all of
them. A bootstrap over images therefore recomputes the curve for each resample,
from detections that are matched with the objects once.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..datasets.files import is_finite, read_json, require
from ..datasets.ground_truth import read_ground_truth
from ..errors import InputError

RECALLS = np.linspace(0, 1, 101)
AP50 = 0  # index of the IoU threshold 0.5
BLOCK = 2**22  # detections of all resamples that are in memory at once, in several arrays of 8 bytes each


class Matches(NamedTuple):
    """Detections of one category over all images, sorted by descending score, matched with the objects.

    ``image`` (D,) is the index of each detection's image; ``hit`` and
    ``counted`` (T, D) are true where a detection matches an object at an IoU
    threshold, and where it counts at all (not on a crowd); ``objects`` (I,)
    is the number of objects per image.
    """

    image: np.ndarray
    hit: np.ndarray
    counted: np.ndarray
    objects: np.ndarray


def evaluate_detections(ann_file: Path, results: Path, kind: str, image_ids: Sequence[int] | None = None) -> COCOeval:
    """Match detections with objects as COCO's evaluation does, of objects of all sizes.

    Args:
        ann_file: Annotations in COCO format.
        results: Detections in COCO's results format.
        kind: ``'bbox'`` or ``'segm'``.
        image_ids: Images to evaluate. Defaults to None, which is all.

    Raises:
        InputError: If a detection is of an image or a category that the annotations do not have.
    """
    truth = read_ground_truth(ann_file)
    detections = read_detections(results)
    for what, known in (('image', truth.imgs), ('category', truth.cats)):
        if unknown := {one[f'{what}_id'] for one in detections} - known.keys():
            raise InputError(
                f'{results} has detections with {what}_id {min(unknown)}, which {ann_file} does not have: the data '
                'set has changed since the training. Use the annotations of that time, or validate again'
            )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports to the terminal
        evaluation = COCOeval(
            truth, truth.loadRes(detections) if detections else COCO(), kind
        )  # pycocotools cannot load an empty list
        if image_ids is not None:
            evaluation.params.imgIds = sorted(image_ids)
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
    return evaluation


def read_detections(path: Path) -> list[dict[str, Any]]:
    """Read detections in COCO's results format.

    Raises:
        InputError: If it is another file.
    """

    def parse(content: Any) -> list[dict[str, Any]]:
        require(isinstance(content, list), 'it must be a list')
        for one in content:
            ids = one['image_id'], one['category_id']
            require(all(type(number) in (int, str) for number in ids), 'an id must be a number or a string')
            require(is_finite(one['score']), 'a score must be a finite number')
            require('bbox' in one or 'segmentation' in one, 'a detection must have a box or a mask')
            box = one.get('bbox', [0, 0, 0, 0])
            require(len(box) == 4 and all(map(is_finite, box)), 'a box must have four finite numbers')
        return content

    return read_json(path, "is not a file of detections in COCO's results format", parse)


def match_detections(ann_file: Path, results: Path, kind: str, image_ids: Sequence[int] | None = None) -> list[Matches]:
    """Match detections with objects, see :func:`evaluate_detections`.

    Returns:
        One table per category that has objects or detections.
    """
    evaluation = evaluate_detections(ann_file, results, kind, image_ids)
    parameters = evaluation.params
    images = len(parameters.imgIds)
    most = parameters.maxDets[-1]
    tables = []
    for category in range(len(parameters.catIds)):
        of_images = evaluation.evalImgs[category * images : (category + 1) * images]
        objects = np.array([0 if one is None else int(np.sum(~np.asarray(one['gtIgnore'], bool))) for one in of_images])
        found = [(place, one) for place, one in enumerate(of_images) if one is not None and one['dtScores']]
        if not found:
            if objects.any():
                none = np.zeros((len(parameters.iouThrs), 0), dtype=bool)
                tables.append(Matches(np.zeros(0, dtype=int), none, none, objects))
            continue
        scores = np.concatenate([one['dtScores'][:most] for _, one in found])
        order = np.argsort(-scores, kind='mergesort')
        ignored = np.concatenate([one['dtIgnore'][:, :most] for _, one in found], axis=1)[:, order].astype(bool)
        hit = np.concatenate([one['dtMatches'][:, :most] for _, one in found], axis=1)[:, order] > 0
        image = np.concatenate([np.full(len(one['dtScores'][:most]), place) for place, one in found])[order]
        tables.append(Matches(image, hit & ~ignored, ~ignored, objects))
    return tables


def average_precision(tables: list[Matches], weights: np.ndarray) -> np.ndarray:
    """Return AP and AP50 of resampled images.

    Args:
        tables: Result of :func:`match_detections`.
        weights: Number of times that each image is drawn in each resample, (B, I).

    Returns:
        (B, 2): AP averaged over the IoU thresholds 0.50 to 0.95, and at 0.50. A resample
        without objects has NaN.
    """
    most = max((len(table.image) for table in tables), default=0)
    blocks = np.array_split(weights, max(1, -(-most * len(weights) // BLOCK)))
    return np.concatenate([_average_precision(tables, block) for block in blocks])


def _average_precision(tables: list[Matches], weights: np.ndarray) -> np.ndarray:
    sums, categories = np.zeros((len(weights), 2)), np.zeros(len(weights))
    for table in tables:
        objects = weights @ table.objects
        present = objects > 0
        categories += present
        if not len(table.image) or not present.any():
            continue
        of_detection = weights[present][:, table.image]
        precision = np.zeros((int(present.sum()), len(table.hit)))
        for threshold, (hit, counted) in enumerate(zip(table.hit, table.counted)):
            # Recall grows only at hits, so precision is needed only there.
            hits = np.cumsum(of_detection[:, hit], axis=1)
            if threshold == 0 or (counted != table.counted[threshold - 1]).any():
                detections = np.cumsum(of_detection * counted, axis=1)
            curve = hits / np.maximum(detections[:, hit], 1)
            # Interpolated precision: the maximum at this recall or a higher one.
            curve = np.maximum.accumulate(curve[:, ::-1], axis=1)[:, ::-1]
            reached = np.searchsorted(RECALLS, hits / objects[present, None], side='right')
            precision[:, threshold] = (curve * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
        sums[present] += np.stack([precision.mean(axis=1), precision[:, AP50]], axis=1)
    with np.errstate(invalid='ignore', divide='ignore'):
        return sums / categories[:, None]


def draw_resamples(images: int, resamples: int) -> np.ndarray:
    """Draw images with replacement, with a fixed seed; return the count per resample and image, (resamples, images)."""
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=resamples)

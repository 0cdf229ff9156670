"""Normalization of ground truth for COCO's evaluation."""

import contextlib
import io
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO


def read_ground_truth(ann_file: Path) -> COCO:
    """Read an annotation file for evaluation, see :func:`prepare_ground_truth`."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports to the terminal
        coco = COCO(str(ann_file))
    prepare_ground_truth(coco)
    return coco


def prepare_ground_truth(coco: COCO) -> None:
    """Replace values that COCO's evaluation misinterprets or fails on, in place.

    - Annotation ids become 1 to n: 0 means "unmatched" in COCOeval, and strings
      do not fit into its arrays. Nothing else refers to these ids.
    - A missing or null ``iscrowd`` becomes 0.
    - Degenerate polygons are dropped, as in mmdet's ``LoadAnnotations``.
    - Image sizes become integers, as required by pycocotools.
    """
    annotations = coco.dataset.setdefault('annotations', [])
    for number, annotation in enumerate(annotations, start=1):
        annotation['id'] = number
        annotation['iscrowd'] = int(annotation.get('iscrowd') or 0)
        if isinstance(annotation.get('segmentation'), list):
            annotation['segmentation'] = [one for one in annotation['segmentation'] if is_polygon(one)]
    coco.anns = {annotation['id']: annotation for annotation in annotations}
    for image in coco.dataset['images']:
        image['width'], image['height'] = int(image['width']), int(image['height'])


def is_polygon(polygon: list[Any]) -> bool:
    """Return whether a list of coordinates has at least three corners of two numbers each."""
    return len(polygon) >= 6 and len(polygon) % 2 == 0

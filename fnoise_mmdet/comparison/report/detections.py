"""What the models of a comparison detect on the same images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from ...datasets.ground_truth import read_ground_truth
from ...visualization import Detection, detections_panel
from .. import Condition, Run
from .picture import Picture


def detection_pictures(conditions: Sequence[Condition], images: int, threshold: float) -> list[Picture]:
    """Draw ground truth and the detections of each condition's first run on the first validation images.

    Args:
        conditions: Those of a comparison.
        images: Number of images.
        threshold: Lowest score that is drawn.

    Returns:
        A picture an image; none where a run has left no detections, or the images are not there.
    """
    runs = {condition.name: condition.runs[0] for condition in conditions if condition.runs}
    data = next((run.record.get('data', {}).get('val') for run in runs.values()), None) or {}
    ann_file, folder = Path(data.get('ann_file', '')), Path(data.get('image_folder', ''))
    found = {name: results for name, run in runs.items() if (results := _read_results(run)) is not None}
    if not found or not ann_file.is_file():
        return []
    truth = read_ground_truth(ann_file)
    names = {category['id']: category['name'] for category in truth.loadCats(truth.getCatIds())}
    pictures = []
    for info in truth.loadImgs(sorted(truth.getImgIds())[:images]):
        picture = Picture.read(folder / info['file_name'], info['file_name'])
        if picture is None:
            continue
        objects = [
            Detection(
                _corners(one['bbox']),
                names[one['category_id']],
                None,
                truth.annToMask(one).astype(bool) if one.get('segmentation') else None,
            )
            for one in truth.loadAnns(truth.getAnnIds([info['id']], iscrowd=False))
        ]
        columns = [('ground truth', objects)]
        for name, results in found.items():
            chosen = [one for one in results if one['image_id'] == info['id'] and one['score'] >= threshold]
            columns.append((name, [_detection(one, names) for one in chosen]))
        panel = detections_panel(picture.image, columns, classes=list(names.values()))
        pictures.append(picture._replace(image=panel))
    return pictures


def _read_results(run: Run) -> list[dict[str, Any]] | None:
    """Return the detections of a run's last validation, with masks where it has them."""
    file = run.predictions('segm') or run.predictions('bbox')
    if file is None:
        return None
    results: list[dict[str, Any]] = json.loads(file.read_text(encoding='utf-8'))
    boxes = run.predictions('bbox')
    if 'bbox' not in (results[0] if results else {'bbox': None}) and boxes is not None:
        # mmdet writes masks and boxes in the same order.
        for one, box in zip(results, json.loads(boxes.read_text(encoding='utf-8'))):
            one['bbox'] = box['bbox']
    return results


def _detection(one: dict[str, Any], names: dict[int, str]) -> Detection:
    mask = coco_mask.decode(one['segmentation']).astype(bool) if 'segmentation' in one else None
    return Detection(_corners(one['bbox']), names[one['category_id']], one['score'], mask)


def _corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x, y, x + width, y + height

"""Images, names and boxes of a batch for drawing."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmdet.structures import DetDataSample
from torch import Tensor

from . import SCORE_THR, Detection

LABELLED = 'sup'  # mmdet's name of the branch


class Undrawable(ValueError):
    """Input that cannot be drawn; the message gives the reason."""


def images_of(data_batch: Any, branch: str = LABELLED) -> list[tuple[Tensor, DetDataSample]]:
    """Return the images (C, H, W) of a batch with their samples.

    Videos of one frame count as images.

    Args:
        data_batch: Batch of a data loader.
        branch: Branch of a semi-supervised batch. Defaults to that of labelled images.

    Raises:
        Undrawable: If the batch holds other inputs, e.g. several video frames.
    """
    if not isinstance(data_batch, dict) or not data_batch.get('data_samples'):
        raise Undrawable('the batch is not one of inputs and data_samples')
    inputs, samples = data_batch['inputs'], data_batch['data_samples']
    if isinstance(inputs, dict):
        branch = branch if branch in inputs else next(iter(inputs))
        inputs, samples = inputs[branch], samples[branch]
    images = [_frame(image, sample) for image, sample in zip(inputs, samples) if image is not None]
    for image, sample in images:
        if not isinstance(image, Tensor) or image.ndim != 3 or 'img_shape' not in sample:
            kind = f'a tensor of {image.ndim} axes' if isinstance(image, Tensor) else f'of type {type(image).__name__}'
            raise Undrawable(f'an input of the batch is not an image (C, H, W), but {kind}')
    return images


def _frame(image: Any, sample: Any) -> tuple[Any, Any]:
    """Return the frame of a video with a single frame."""
    frames: Sequence[Any] = getattr(sample, 'video_data_samples', ())
    return (image[0], frames[0]) if len(frames) == 1 and len(image) == 1 else (image, sample)


def to_picture(image: Tensor) -> np.ndarray:
    """Convert an input (C, H, W) to an RGB image, uint8 (H, W, 3).

    The first three channels are taken as BGR, or the first one as grey if
    there are fewer. Values in [0, 255] are kept; others (16 bits, unit range or
    normalized) are scaled by the range of the image.
    """
    pixels = image.detach().float().cpu()
    pixels = pixels[:3].flip(0) if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    finite = pixels[pixels.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if low < 0:
        pixels = (pixels - low) * (255 / max(high - low, 1e-12))
    elif high > 255 or (image.is_floating_point() and 0 < high <= 1):
        pixels = pixels * (255 / high)
    pixels = pixels.nan_to_num(0, 255, 0).clamp(0, 255).round().byte()
    return pixels.permute(1, 2, 0).numpy()


def length(loader: Any) -> int | None:
    """Return the length of a data loader or data set, None if it has none."""
    try:
        return len(loader)
    except TypeError:  # iterable data set
        return None


def image_id(sample: DetDataSample) -> int | str:
    """Return the id of an image, or its file name if it has none."""
    found = getattr(sample, 'img_id', None)
    return file_name(sample) if found is None else found


def file_name(sample: DetDataSample) -> str:
    """Return the file name of an image, or an empty string."""
    return Path(getattr(sample, 'img_path', None) or '').name


def as_file_name(identity: int | str) -> str:
    """Convert an image id to a valid part of a file name."""
    return re.sub(r'[^\w.-]', '_', str(identity))


def ground_truth(sample: DetDataSample, resized: bool, classes: Sequence[str] = ()) -> list[Detection] | None:
    """Return the ground truth of a sample with boxes in pixels of the input, None if it has none.

    Args:
        sample: The sample.
        resized: Whether the pipeline resized the boxes with the image,
            see :func:`resizes_boxes`.
        classes: Names of the classes. Defaults to none, which leaves the labels empty.
    """
    instances: Any = getattr(sample, 'gt_instances', None)
    boxes = _corners(instances)
    if boxes is None:
        return None
    boxes = boxes if resized else to_input(boxes, sample)
    return [Detection(box, name) for box, name in zip(boxes.tolist(), _names(instances, classes))]


def predicted(sample: DetDataSample, classes: Sequence[str] = ()) -> list[Detection] | None:
    """Return the detections of a sample with boxes in pixels of the input, None if there is no prediction.

    Those with a score of at least 0.3, in descending order of the score.

    Args:
        sample: The sample.
        classes: Names of the classes. Defaults to none, which leaves the labels empty.
    """
    instances: Any = getattr(sample, 'pred_instances', None)
    boxes = _corners(instances)
    if boxes is None or 'scores' not in instances:
        return None
    found = zip(instances.scores.tolist(), to_input(boxes, sample).tolist(), _names(instances, classes))
    return [Detection(box, name, score) for score, box, name in sorted(found, reverse=True) if score >= SCORE_THR]


def _names(instances: Any, classes: Sequence[str]) -> list[str]:
    """Return the class of each instance, an empty string where it is not known."""
    labels = instances.labels.tolist() if 'labels' in instances else [-1] * len(instances)
    return [classes[label] if 0 <= label < len(classes) else '' for label in labels]


def to_input(boxes: np.ndarray, sample: DetDataSample) -> np.ndarray:
    """Transform boxes (N, 4) from the original image to the resized and padded input."""
    across, down = getattr(sample, 'scale_factor', (1.0, 1.0))
    top, _, left, _ = getattr(sample, 'border', (0, 0, 0, 0))
    return boxes * np.array([across, down, across, down]) + np.array([left, top, left, top])


def resizes_boxes(dataset: Any) -> bool:
    """Return whether a data set loads its boxes before the image is resized, so that they are resized with it.

    mmdet's validation and test pipelines load boxes after resizing, in pixels
    of the original image; training pipelines load them before.
    """
    for transform in _transforms(dataset):
        if isinstance(transform, LoadAnnotations):
            return True
        if 'Resize' in type(transform).__name__:
            return False
    return True


def _transforms(node: Any) -> Iterator[Any]:
    """Yield the transforms of a data set (the first one if concatenated), including nested ones."""
    for name in ('dataset', 'datasets', 'pipeline', 'transforms'):
        inner = getattr(node, name, None)
        if name == 'datasets' and inner:
            inner = inner[0]
        for part in inner if isinstance(inner, list | tuple) else [inner]:
            if part is not None and not isinstance(part, dict):
                yield part
                yield from _transforms(part)


def _corners(instances: Any) -> np.ndarray | None:
    """Return the boxes (N, 4) of instances, None if there are none or of another kind."""
    if instances is None or 'bboxes' not in instances:
        return None
    boxes = getattr(instances.bboxes, 'tensor', instances.bboxes)
    return boxes.detach().float().cpu().numpy() if boxes.ndim == 2 and boxes.shape[1] == 4 else None

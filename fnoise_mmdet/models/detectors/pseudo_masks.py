"""Predicted instance masks as targets of a training, in the coordinates of another view of the image."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from torch import Tensor


def bitmap_masks(masks: Tensor, shape: Sequence[int]) -> BitmapMasks:
    """Return predicted masks in the form that mask heads are trained with.

    A detector predicts masks of the size round(size of the file x scale
    factor), which may differ from that of its input by a pixel.

    Args:
        masks: Predicted masks, boolean (N, H, W).
        shape: Height and width of the input without padding, to which the masks are cropped or padded with zeros.
    """
    height, width = shape[:2]
    cropped = masks[:, :height, :width].cpu().numpy().astype(np.uint8)
    missing = height - cropped.shape[1], width - cropped.shape[2]
    return BitmapMasks(np.pad(cropped, ((0, 0), (0, missing[0]), (0, missing[1]))), height, width)


def view_homography(source: DetDataSample, target: DetDataSample) -> np.ndarray:
    """Return the matrix from pixels of one view of an image to pixels of another one, (3, 3)."""
    return target.homography_matrix @ np.linalg.inv(source.homography_matrix)


def project_masks(masks: BitmapMasks, homography: np.ndarray, shape: Sequence[int]) -> BitmapMasks:
    """Return masks in another view of the image.

    Args:
        masks: Masks in the first view.
        homography: Matrix from pixels of the first to pixels of the second view, (3, 3).
        shape: Height and width of the second view, outside of which masks are cut off.
    """
    height, width = shape[:2]
    projected = np.zeros((len(masks), height, width), np.uint8)
    for source, target in zip(masks.masks, projected):
        cv2.warpPerspective(source, homography.astype(np.float64), (width, height), target, cv2.INTER_NEAREST)
    return BitmapMasks(projected, height, width)

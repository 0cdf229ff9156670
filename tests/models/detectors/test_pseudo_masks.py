import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks

from fnoise_mmdet.models.detectors.pseudo_masks import bitmap_masks, project_masks


def test_masks_are_cropped_and_padded_to_the_input():
    masks = torch.zeros(2, 5, 6, dtype=torch.bool)
    masks[0, 4, 0] = masks[1, 0, 5] = True
    found = bitmap_masks(masks, (4, 8))
    assert found.masks.shape == (2, 4, 8) and (found.height, found.width) == (4, 8)
    assert found.masks[0].sum() == 0 and found.masks[1, 0, 5] == 1 and found.masks[1].sum() == 1
    assert bitmap_masks(masks[:0], (4, 8)).masks.shape == (0, 4, 8)


def test_masks_are_projected_as_their_points():
    """Against the projection of each pixel, for a flip with a scale of 2 and a translation."""
    rng = np.random.default_rng(0)
    masks = (rng.random((3, 10, 12)) < 0.5).astype(np.uint8)
    homography = np.array([[-2.0, 0, 20], [0, 2, 1], [0, 0, 1]])
    found = project_masks(BitmapMasks(masks, 10, 12), homography, (18, 16)).masks
    inverse = np.linalg.inv(homography)
    for y in range(18):
        for x in range(16):
            column, row, one = inverse @ [x, y, 1]
            column, row = column / one, row / one
            if column % 1 == 0 and row % 1 == 0:  # pixels of both views coincide
                inside = 0 <= column < 12 and 0 <= row < 10
                expected = masks[:, int(row), int(column)] if inside else 0
                assert (found[:, y, x] == expected).all()
    assert found.any()

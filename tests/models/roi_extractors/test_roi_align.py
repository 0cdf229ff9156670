import math

import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign

from fnoise_mmdet.models.roi_extractors.roi_align import FastRoIAlign, roi_align

# On two images: regions within, across the border, outside, and of no size.
ROIS = torch.tensor(
    [
        [0, 3.0, 2.0, 30.0, 25.0],
        [1, 10.5, 7.25, 17.0, 40.0],
        [0, -20.0, -9.0, 12.0, 9.0],
        [1, 30.0, 20.0, 90.0, 70.0],
        [0, 200.0, 200.0, 220.0, 220.0],
        [1, 8.0, 8.0, 8.0, 8.0],
    ],
    dtype=torch.float64,
)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 3, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def interpolate(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """Bilinear value of (C, H, W) at a place: 0 more than a position outside, the border's nearer than that."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = image[:, top, left] * (1 - x + left) + image[:, top, right] * (x - left)
    lower = image[:, bottom, left] * (1 - x + left) + image[:, bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def naive(x: np.ndarray, rois: np.ndarray, output_size, scale: float, ratio: int, aligned: bool) -> np.ndarray:
    """Every sample of every bin of every region, one after another."""
    out = np.zeros((len(rois), x.shape[1], *output_size))
    for r, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (corner * scale - 0.5 * aligned for corner in corners)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = max(height, 1), max(width, 1)
        bin_height, bin_width = height / output_size[0], width / output_size[1]
        down, across = (ratio, ratio) if ratio else (max(math.ceil(bin_height), 0), max(math.ceil(bin_width), 0))
        for i, j in np.ndindex(*output_size):
            for k, m in np.ndindex(down, across):
                y, z = y1 + (i + (k + 0.5) / down) * bin_height, x1 + (j + (m + 0.5) / across) * bin_width
                out[r, :, i, j] += interpolate(x[int(image)], y, z) / (down * across)
    return out


@pytest.mark.parametrize('output_size', [(7, 7), (2, 3)])
@pytest.mark.parametrize('scale', [0.25, 1])
@pytest.mark.parametrize('ratio', [0, 1, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_is_its_definition(features, output_size, scale, ratio, aligned):
    found = roi_align(features, ROIS, output_size, scale, ratio, aligned)
    expected = naive(features.numpy(), ROIS.numpy(), output_size, scale, ratio, aligned)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-10)
    assert (expected[0] != 0).any() and (expected[4] == 0).all()


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_is_mmcv_s_with_its_gradient(features, ratio, aligned, memory_format):
    settings = dict(output_size=(7, 5), spatial_scale=0.25, sampling_ratio=ratio, aligned=aligned)
    pooled, gradients = [], []
    rois = ROIS.clone().requires_grad_()
    # mmcv's operator reads features in channels_last as if they were contiguous.
    for layer, layout in ((RoIAlign, torch.contiguous_format), (FastRoIAlign, memory_format)):
        x = features.detach().contiguous(memory_format=layout).requires_grad_()
        y = layer(**settings)(x, rois)
        y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape))
        pooled.append(y.detach())
        gradients.append(x.grad)
    torch.testing.assert_close(*pooled)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0
    assert rois.grad is None, 'neither is differentiable in the regions'


def test_gradient_is_that_of_the_formula(features):
    x = features[:, :1, :6, :7].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: roi_align(x, ROIS[:3], (2, 2), 0.25), x)


def test_single_precision_is_near_double(features):
    settings = dict(output_size=(7, 7), spatial_scale=0.25)
    double = roi_align(features, ROIS, **settings)
    torch.testing.assert_close(
        roi_align(features.float(), ROIS.float(), **settings).double(), double, rtol=0, atol=1e-5
    )


def test_regions_that_are_not_finite_are_empty(features):
    rois = ROIS[:2].clone()
    rois[0, 3] = math.nan
    pooled = roi_align(features, rois, (2, 2), 0.25)
    assert not pooled[0].any() and torch.equal(pooled[1:], roi_align(features, rois[1:], (2, 2), 0.25))


@pytest.mark.parametrize(
    ('settings', 'rois', 'dtype'),
    [(dict(), ROIS[:0], torch.float64), (dict(pool_mode='max'), ROIS, torch.float64), (dict(), ROIS, torch.float16)],
)
def test_what_is_left_to_mmcv(features, settings, rois, dtype):
    settings = dict(output_size=(2, 3), spatial_scale=0.25, **settings)
    x, rois = features.to(dtype), rois.to(dtype)
    assert torch.equal(FastRoIAlign(**settings)(x, rois), RoIAlign(**settings)(x, rois))

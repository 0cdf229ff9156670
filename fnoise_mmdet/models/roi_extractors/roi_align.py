"""Vectorized RoIAlign for CPUs."""

from collections.abc import Sequence

import torch
from mmcv.ops import RoIAlign
from torch import Tensor
from torch.nn.functional import embedding_bag


def roi_align(
    x: Tensor,
    rois: Tensor,
    output_size: Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    r"""Average bilinear samples of features in each bin of each region (He et al., *Mask R-CNN*, section 3).

    The samples of a bin lie on a grid, so its average is
    :math:`\sum_{y, x} d_y \, a_x \, F_{y, x}`, with one vector of weights down
    and one across. A bin is therefore a weighted sum of few rows of a table of
    all positions, as computed by torch's ``embedding_bag``: all bins in one
    multi-threaded call, with contiguous channels. Like mmcv's operator it is differentiable in ``x`` alone.

    Args:
        x: Features of float32 or float64.
        rois: Image index and corners x1, y1, x2, y2 in pixels of the image.
        output_size: Number of bins, h and w.
        spatial_scale: Ratio of feature size to image size.
        sampling_ratio: Samples per bin and axis; 0 for at least one per position.
        aligned: Whether pixel values are at pixel centres (half-pixel shift).

    Shape:
        x: (B, C, H, W). rois: (R, 5). Output: (R, C, h, w).
    """
    rois = rois.detach()
    num_bins = torch.tensor([*output_size], device=rois.device)
    corners = rois[:, [2, 1, 4, 3]] * spatial_scale - (0.5 if aligned else 0)  # y before x
    start, size = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not aligned:
        size = size.clamp(min=1)
    samples = (size / num_bins).ceil() if sampling_ratio == 0 else torch.full_like(size, sampling_ratio)
    down, across = (
        _interpolation(start[:, axis], size[:, axis], samples[:, axis], output_size[axis], x.shape[2 + axis])
        for axis in (0, 1)
    )
    rows, num_rows, first_row = _positions(down)
    columns, num_columns, first_column = _positions(across)

    # The bag of a bin holds all (row, column) pairs that it reads.
    bins = torch.broadcast_shapes(num_rows[:, :, None].shape, num_columns[:, None].shape)
    sizes = (num_rows[:, :, None] * num_columns[:, None]).flatten()
    offsets = sizes.cumsum(0) - sizes

    def of_each_pair(value: Tensor) -> Tensor:
        return value.expand(bins).flatten().repeat_interleave(sizes)

    number = torch.arange(int(sizes.sum()), device=x.device) - offsets.repeat_interleave(sizes)
    width = of_each_pair(num_columns[:, None])
    row = of_each_pair(first_row[:, :, None]) + number // width
    column = of_each_pair(first_column[:, None]) + number % width
    image = of_each_pair(rois[:, 0].long()[:, None, None])
    table = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    pooled = embedding_bag(
        (image * x.shape[2] + rows[row]) * x.shape[3] + columns[column],
        table,
        offsets,
        mode='sum',
        per_sample_weights=down[down != 0][row] * across[across != 0][column],
    )
    return pooled.view(len(rois), *output_size, x.shape[1]).permute(0, 3, 1, 2)


def _interpolation(start: Tensor, size: Tensor, samples: Tensor, num_bins: int, length: int) -> Tensor:
    """Return the weight of each position of an axis in the average of each bin of each region.

    Args:
        start: Start of the regions, (R,).
        size: Length of the regions, (R,).
        samples: Number of samples per bin, (R,), integers.
        num_bins: Number of bins along the axis.
        length: Number of positions along the axis.

    Returns:
        (R, num_bins, length).
    """
    samples = samples.nan_to_num(0, posinf=0)[:, None, None]  # divergence is reported by the losses
    bin_number = torch.arange(num_bins, device=start.device)[:, None]
    number = torch.arange(int(samples.max()), device=start.device)
    place = start[:, None, None] + size[:, None, None] / num_bins * (bin_number + (number + 0.5) / samples)
    # Samples more than one position outside are 0, closer ones are clamped to the border.
    inside = (number < samples) & (place >= -1) & (place <= length)
    place = torch.where(inside, place, 0).clamp(0, length - 1)
    share = inside / samples.clamp(min=1)
    before = place.floor()
    after = place - before
    weights = start.new_zeros(len(start), num_bins, length)
    weights.scatter_add_(2, before.long(), (1 - after) * share)
    weights.scatter_add_(2, (before.long() + 1).clamp(max=length - 1), after * share)
    return weights


def _positions(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the positions with non-zero weight, and their count and offset per bin and region."""
    counts = weights.count_nonzero(2)
    first = counts.flatten().cumsum(0).view_as(counts) - counts
    return weights.nonzero()[:, 2], counts, first


class FastRoIAlign(RoIAlign):
    """mmcv's RoIAlign, with :func:`roi_align` on CPUs, where mmcv's operator is single-threaded.

    mmcv's operator is used on other devices, for other dtypes than float32 and
    float64, for max pooling, and in export.
    """

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool the features of each region.

        Shape:
            input: (B, C, H, W). rois: (R, 5). Output: (R, C, h, w).
        """
        if (
            input.device.type != 'cpu'
            or input.dtype not in (torch.float32, torch.float64)
            or self.pool_mode != 'avg'
            or len(rois) == 0
            or torch.onnx.is_in_onnx_export()
        ):
            return super().forward(input, rois)
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)

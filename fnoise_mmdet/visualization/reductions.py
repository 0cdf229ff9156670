"""Reductions of the channels of a feature map (C, H, W) to one map."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..choices import REDUCTIONS


class Reduction(NamedTuple):
    """Reduction of (C, H, W) to one map, fitted to the clean features and applied to clean and perturbed ones.

    ``linear``: whether the difference of two reduced maps is the reduced
    difference, i.e. the reduced noise itself can be shown. ``quantity`` is what
    the map holds. ``keeps_positions``: whether the map covers the image, which a
    grid of maps does not.
    """

    label: str
    apply: Callable[[Tensor], Tensor]
    linear: bool = True
    quantity: str = 'activation'
    keeps_positions: bool = True


def channel_mean(x: Tensor) -> Tensor:
    """Return the mean over channels, (C, H, W) to (H, W)."""
    return x.mean(dim=0)


def channel_max(x: Tensor) -> Tensor:
    """Return the maximum over channels, (C, H, W) to (H, W)."""
    return x.amax(dim=0)


def channel_norm(x: Tensor) -> Tensor:
    """Return the L2 norm over channels, (C, H, W) to (H, W)."""
    return x.norm(dim=0)


def strongest_channels(x: Tensor, count: int) -> list[int]:
    """Return the indices of the ``count`` channels with the largest L2 norm, in descending order."""
    norms = x.flatten(1).norm(dim=1)
    return norms.argsort(descending=True, stable=True)[:count].tolist()


def principal_direction(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (C,) over positions of (C, H, W), and the first principal direction (C,).

    Its sign is chosen such that the sum of its weights is non-negative. It is
    computed exactly from the smaller Gram matrix, because randomized methods
    would draw from torch's global stream.
    """
    places = x.flatten(1).double()
    mean = places.mean(dim=1)
    centred = places - mean[:, None]
    if centred.shape[0] <= centred.shape[1]:
        direction = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -1]
    else:
        direction = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
        direction = direction / direction.norm().clamp_min(torch.finfo(torch.float64).tiny)
    if direction.sum() < 0:
        direction = -direction
    return mean.to(x.dtype), direction.to(x.dtype)


def project(x: Tensor, mean: Tensor, direction: Tensor) -> Tensor:
    """Project the positions of (C, H, W), minus the mean (C,), onto a direction (C,), shape (H, W)."""
    return torch.einsum('chw,c->hw', x - mean[:, None, None], direction)


def tile(maps: Tensor) -> Tensor:
    """Arrange (K, H, W) in a square grid of maps, row by row.

    Returns:
        The grid, with NaN in unused cells and in the lines between maps, which
        are wide enough to stay visible when the grid is shrunk.
    """
    count, height, width = maps.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    line = max(1, round(max(height, width) / 24))
    grid = maps.new_full((rows * (height + line) - line, columns * (width + line) - line), math.nan)
    for index, one in enumerate(maps):
        top, left = index // columns * (height + line), index % columns * (width + line)
        grid[top : top + height, left : left + width] = one
    return grid


def _one_channel(channels: Sequence[int]) -> Reduction:
    channel = channels[0]
    return Reduction(f'channel {channel}', lambda x: x[channel])


def _grid_of_channels(channels: Sequence[int]) -> Reduction:
    # Long lists would not fit into the label of a row.
    named = ', '.join(map(str, channels[:3])) + (', …' if len(channels) > 3 else '')
    return Reduction(
        f'the strongest {len(channels)}\n{named}', lambda x: tile(x[list(channels)]), keeps_positions=False
    )


def _pca(clean: Tensor) -> Reduction:
    mean, direction = principal_direction(clean)
    return Reduction('principal component', lambda x: project(x, mean, direction), quantity='projection')


# Of chosen channels.
CHANNEL_REDUCTIONS: dict[str, Callable[[Sequence[int]], Reduction]] = {
    'strongest': _one_channel,
    'top_k': _grid_of_channels,
}
_OF_FEATURES: dict[str, Callable[[Tensor], Reduction]] = {
    'mean': lambda clean: Reduction('mean of channels', channel_mean, quantity='mean'),
    'max': lambda clean: Reduction('max of channels', channel_max, linear=False, quantity='maximum'),
    'norm': lambda clean: Reduction('norm of channels', channel_norm, linear=False, quantity='L2 norm'),
    'pca': _pca,
}


def choose_reduction(name: str, clean: Tensor, top_k: int = 9, channels: Sequence[int] | None = None) -> Reduction:
    """Fit a reduction to clean features.

    Args:
        name: ``'strongest'`` is the channel with the largest L2 norm,
            ``'top_k'`` a grid of the ``top_k`` strongest, ``'mean'``,
            ``'max'`` and ``'norm'`` (L2) are over channels per position, and
            ``'pca'`` is the first principal component over positions, with a
            positive sum of its weights. Channels and component are chosen on
            the clean features and applied to the perturbed ones. ``'max'`` and
            ``'norm'`` are not linear: instead of the noise, the difference of
            the reduced maps is shown, which hides changes that preserve the
            maximum or the norm.
        clean: Features (C, H, W).
        top_k: Maximum number of channels of ``'top_k'``. Defaults to 9.
        channels: Indices of the channels for ``'strongest'`` and ``'top_k'``. Defaults to the strongest ones.

    Raises:
        ValueError: If the name is unknown, or ``top_k`` < 1.
    """
    check_reduction(name, top_k)
    if name not in CHANNEL_REDUCTIONS:
        return _OF_FEATURES[name](clean)
    if channels is None:
        channels = strongest_channels(clean, 1 if name == 'strongest' else top_k)
    return CHANNEL_REDUCTIONS[name](channels)


def check_reduction(name: str, top_k: int) -> None:
    """Check the settings of a reduction.

    Raises:
        ValueError: If the name is unknown, or ``top_k`` < 1.
    """
    if name not in REDUCTIONS:
        raise ValueError(f'reduction must be one of {REDUCTIONS}, but got {name!r}')
    if top_k < 1:
        raise ValueError(f'top_k must be >= 1, but got {top_k}')

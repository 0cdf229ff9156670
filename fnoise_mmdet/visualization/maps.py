"""Feature maps of one image, and their statistics."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..datasets.files import write_atomically


class FeatureMap(NamedTuple):
    """Clean and perturbed features of one image at one level (from 0), each (C, H, W).

    ``perturbed`` is None without noise.
    """

    level: int
    clean: Tensor
    perturbed: Tensor | None


@torch.no_grad()
def snr_db(clean: Tensor, perturbed: Tensor) -> float:
    r"""Return the signal-to-noise ratio :math:`10 \log_{10} (\sum x^2 / \sum (y - x)^2)` in dB.

    It is infinite if the two are equal.
    """
    signal, noise = signal_and_noise(clean, perturbed)
    return float(10 * torch.log10(signal / noise))


@torch.no_grad()
def signal_and_noise(clean: Tensor, perturbed: Tensor) -> Tensor:
    r"""Return :math:`\sum x^2` and :math:`\sum (y - x)^2`, (2,) in float64."""
    clean = clean.double()
    return torch.stack([clean.square().sum(), (perturbed.double() - clean).square().sum()])


def relative_change(clean: Tensor, perturbed: Tensor) -> Tensor:
    """Return |y - x| / |x| per position, with norms over channels, shape (H, W); 0 where x is 0."""
    size = clean.norm(dim=0)
    return torch.where(size > 0, (perturbed - clean).norm(dim=0) / size, torch.zeros_like(size))


def without_padding(features: Tensor, shape: Sequence[int], padded_shape: Sequence[int]) -> Tensor:
    """Crop features (C, H, W) of a padded batch to the part of an image of ``shape``."""
    rows, columns = (
        -(-extent * size // padded)  # rounded up
        for extent, size, padded in zip(features.shape[1:], shape, padded_shape)
    )
    return features[:, :rows, :columns]


def save_arrays(path: Path, image: np.ndarray, maps: Sequence[FeatureMap]) -> None:
    """Save an image and its maps as ``.npz``: ``image``, and per level i ``clean_{i}`` and ``perturbed_{i}``."""
    arrays = {'image': image}
    for level, clean, perturbed in maps:
        arrays[f'clean_{level}'] = clean.detach().float().cpu().numpy()
        if perturbed is not None:
            arrays[f'perturbed_{level}'] = perturbed.detach().float().cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())

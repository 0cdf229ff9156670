"""Feature noise: perturb features in proportion to their magnitude.

Drawing the random numbers (``sample_*``) is kept apart from applying them
(``apply_*``), so that a draw can be replayed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .stream import make_generator


def sample_cct(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from U(-1, 1) once for the whole batch, shape (C, H, W)."""
    return torch.empty(x.shape[1:], dtype=x.dtype, device=x.device).uniform_(-1, 1, generator=generator)


def apply_cct(x: Tensor, eps: Tensor, scale: float) -> Tensor:
    r"""Give :math:`y = x + x \cdot n` with :math:`n = scale \cdot \epsilon`.

    Source: F-Noise in Ouali, Hudelot, Tami, "Semi-Supervised Semantic
    Segmentation with Cross-Consistency Training", CVPR 2020,
    arXiv 2003.09005, section 3.2, where n ~ U(-0.3, 0.3).

    Shape:
        x: (B, C, H, W). eps: (C, H, W). Output: (B, C, H, W).
    """
    return x * (1 + scale * eps)


def sample_mean_normal(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from N(0, 1) once for all samples and channels, shape (H, W)."""
    return torch.empty(x.shape[2:], dtype=x.dtype, device=x.device).normal_(generator=generator)


def apply_mean_normal(x: Tensor, eps: Tensor, scale: float) -> Tensor:
    r"""Give :math:`y = x + n`, n normal with the mean of x and a std of ``scale``.

    The noise is biased by the mean of x and not proportional to x: a negative
    control for F-Noise. The mean is held constant in the backward pass.

    Shape:
        x: (B, C, H, W). eps: (H, W). Output: (B, C, H, W).
    """
    return x + (x.detach().mean() + scale * eps)


class Preset(NamedTuple):
    """A published noise: how to draw, how to apply, and how strongly."""

    sample: Callable[[Tensor, torch.Generator], Tensor]
    apply: Callable[[Tensor, Tensor, float], Tensor]
    scale: float


PRESETS = {
    'cct': Preset(sample_cct, apply_cct, 0.3),
    # Published for the last level of the backbone alone: ``levels=[-1]`` of the neck.
    'mean_normal': Preset(sample_mean_normal, apply_mean_normal, 0.1),
}


class FeatureNoise(nn.Module):
    r"""Perturb a feature map in training mode; hand it back untouched otherwise.

    It holds no parameter, no buffer and no random state: the same input and
    key give the same output, and torch's global random stream is not used.

    Args:
        preset: Name of the noise.

            - ``'cct'``: :math:`y = x + x n`, :math:`n \sim U(-scale, scale)`,
              one draw of shape (C, H, W) for the whole batch.
            - ``'mean_normal'``: :math:`y = x + n`,
              :math:`n \sim N(\bar x, scale^2)`, one draw of shape (H, W) for
              all samples and channels.
        scale: Strength of the noise; 0 turns it off. Defaults to the preset's
            published value: 0.3 for ``'cct'``, 0.1 for ``'mean_normal'``.

    Shape:
        Input and output: (B, C, H, W), any floating dtype and memory format.

    Raises:
        ValueError: The preset is unknown, or the scale negative or not finite.

    Examples:
        >>> noise = FeatureNoise(scale=0.2)
        >>> x = torch.ones(2, 3, 4, 4)
        >>> y = noise(x, key=(0, 1))  # e.g. seed 0, iteration 1
        >>> bool(((y - x).abs() <= 0.2).all())
        True
        >>> noise.eval()(x, key=(0, 1)) is x
        True
    """

    def __init__(self, preset: str = 'cct', scale: float | None = None) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f'preset must be one of {sorted(PRESETS)}, but got {preset!r}')
        if scale is None:
            scale = PRESETS[preset].scale
        if not isinstance(scale, int | float) or not 0 <= scale < float('inf'):
            raise ValueError(f'scale must be >= 0 and finite, but got {scale!r}')
        self.preset = preset
        self.scale = scale

    def forward(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb ``x`` in training mode, with the random stream named by ``key``."""
        return self.perturb(x, key) if self.training else x

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        """Perturb ``x`` whatever the mode, as training would."""
        if self.scale == 0:
            return x
        preset = PRESETS[self.preset]
        eps = preset.sample(x, make_generator(key, x.device))
        return preset.apply(x, eps, self.scale)

    def extra_repr(self) -> str:
        return f'preset={self.preset!r}, scale={self.scale}'

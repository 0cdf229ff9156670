"""Rounding of features to the number formats of hardware."""

import functools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .base import at_least_float32


def round_to_float(x: Tensor, mantissa: int, lowest: int | None = None, largest: float | None = None) -> Tensor:
    """Round to the nearest number of a binary floating-point format, ties to even, saturating.

    Args:
        x: Numbers.
        mantissa: Number of explicit bits of the mantissa.
        lowest: Exponent of the smallest normal number, below which numbers have the spacing there (subnormal).
            Defaults to None, which is no limit.
        largest: Largest number. Defaults to None, which is no limit.
    """
    exponent = torch.frexp(x).exponent - 1  # of the leading bit
    if lowest is not None:
        exponent = exponent.clamp(min=lowest)
    spacing = torch.ldexp(torch.ones_like(x), exponent - mantissa)
    y = torch.round(x / spacing) * spacing
    return y if largest is None else y.clamp(-largest, largest)


def _scaled_float(x: Tensor, mantissa: int, lowest: int, largest: float) -> Tensor:
    """Round with one factor per tensor that maps the largest magnitude to the largest number."""
    peak = x.abs().amax()
    factor = torch.where(peak > 0, largest / peak, 1.0)
    return round_to_float(x * factor, mantissa, lowest, largest) / factor


def _integers(x: Tensor, bits: int, dims: tuple[int, ...]) -> Tensor:
    """Round to symmetric integers, with one step for all elements along ``dims``."""
    step = x.abs().amax(dims, keepdim=True) / (2 ** (bits - 1) - 1)
    return torch.round(x / torch.where(step > 0, step, 1.0)) * step


TENSOR, CHANNEL = (0, 1, 2, 3), (0, 2, 3)
# Bits of the mantissa of the floating-point formats.
MANTISSAS = dict(e4m3=3, e5m2=2, e2m1=1, power_of_two=0)
# Formats by name. Floating-point ones of 8 bits are those of Micikevicius et al., "FP8 Formats for Deep Learning",
# arXiv 2209.05433, of 4 bits that of OCP Microscaling Formats 1.0, with one factor per tensor; powers of two have no
# limit.
FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    'e4m3': partial(_scaled_float, mantissa=MANTISSAS['e4m3'], lowest=-6, largest=448.0),
    'e5m2': partial(_scaled_float, mantissa=MANTISSAS['e5m2'], lowest=-14, largest=57344.0),
    'e2m1': partial(_scaled_float, mantissa=MANTISSAS['e2m1'], lowest=0, largest=6.0),
    'power_of_two': partial(round_to_float, mantissa=MANTISSAS['power_of_two']),
    **{f'int{bits}': partial(_integers, bits=bits, dims=TENSOR) for bits in (8, 6, 4)},
    **{f'int{bits}_channel': partial(_integers, bits=bits, dims=CHANNEL) for bits in (8, 6, 4)},
}


@functools.cache
def relative_error(name: str) -> float:
    """Return the relative error of rounding to a floating-point format: RMS of the error over RMS of the features.

    Features are half-normal, as after a ReLU, and the exponent has no limit. The error is then a property of the
    mantissa, and proportional to the features like F-Noise.
    """
    count = 100_000
    quantiles = (torch.arange(count, dtype=torch.float64) + 0.5) / (2 * count) + 0.5
    x = torch.special.ndtri(quantiles)
    return float((round_to_float(x, MANTISSAS[name]) - x).norm() / x.norm())


def round_features(x: Tensor, name: str) -> Tensor:
    """Round features to a format of :data:`FORMATS`.

    Args:
        x: Features.
        name: Name of the format.

    Shape:
        Input and output: (B, C, H, W).
    """
    return FORMATS[name](at_least_float32(x)).to(x.dtype)

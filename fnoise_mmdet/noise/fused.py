"""The fast way of noise that multiplies each feature by a random factor: nothing is stored but the result.

The simple way is :meth:`.Noise.perturb`. It gives the same, and is taken for whatever the kernels are not made for.
"""

import copy
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .base import Noise, measure_peaks
from .kernels import load_kernels
from .stream import make_seed


class UniformFactors(NamedTuple):
    """Factors 1 + ``scale`` eps with uniform eps, drawn in the order of the features in memory.

    All samples of a batch get the same ones where they are ``shared``.
    """

    scale: float
    shared: bool

    def rows(self, x: Tensor) -> int:
        """Give how many equal parts of ``x``, one after the other in memory, share their factors."""
        return len(x) if self.shared else 1


@torch.compiler.disable  # its random stream is no part of a graph
def rescale(
    xs: Sequence[Tensor],
    noise: Noise,
    keys: Sequence[Sequence[int]],
    factors: UniformFactors | None,
    peaks: Tensor | None = None,
) -> list[Tensor]:
    """Perturb features by a noise that is linear in them, and their gradients by the same factors.

    Nothing is kept for the backward pass: the factors are drawn again from their streams.

    Args:
        xs: Features, each (B, C, H, W).
        noise: Perturbs in the simple way.
        keys: Each names the stream of one of them, see :func:`.make_generator`.
        factors: What the noise multiplies by, where that can be told in this way.
        peaks: Zeros, which take what :func:`.measure_peaks` gives, where they are given.
    """
    draws: _Draws
    if factors and (kernels := _kernels_for(xs)):
        draws = _KernelDraws(kernels, factors, [make_seed(key) for key in keys])
    else:
        draws = _SimpleDraws(copy.copy(noise), keys)  # a copy, because a schedule changes the settings
    return list(_Rescale.apply(draws, peaks, *xs))


class _KernelDraws(NamedTuple):
    """What kernels draw for each level: the same for its features and for their gradient."""

    kernels: ModuleType
    factors: UniformFactors
    seeds: Sequence[int]

    def of(self, levels: Sequence[int]) -> '_KernelDraws':
        """Give those of some levels."""
        return _KernelDraws(self.kernels, self.factors, [self.seeds[i] for i in levels])

    def rescale(self, xs: Sequence[Tensor], peaks: Tensor | None = None) -> Sequence[Tensor]:
        """Rescale a tensor of each level."""
        xs = [x.contiguous() for x in xs]  # as the features are; a gradient may not be
        return self.kernels.rescale(xs, self.seeds, self.factors.scale, [self.factors.rows(x) for x in xs], peaks)


class _SimpleDraws(NamedTuple):
    """What the simple way draws for each level: the same for its features and for their gradient."""

    noise: Noise
    keys: Sequence[Sequence[int]]

    def of(self, levels: Sequence[int]) -> '_SimpleDraws':
        """Give those of some levels."""
        return _SimpleDraws(self.noise, [self.keys[i] for i in levels])

    def rescale(self, xs: Sequence[Tensor], peaks: Tensor | None = None) -> Sequence[Tensor]:
        """Rescale a tensor of each level."""
        if peaks is not None:
            measure_peaks(xs, peaks)
        return [Noise.perturb(self.noise, x, key) for x, key in zip(xs, self.keys)]


_Draws = _KernelDraws | _SimpleDraws


class _Rescale(torch.autograd.Function):
    """All levels at once: to tell a GPU what to do with small ones takes longer than the doing."""

    @staticmethod
    def forward(ctx: Any, draws: _Draws, peaks: Tensor | None, *xs: Tensor) -> tuple[Tensor, ...]:
        ctx.draws = draws
        ctx.set_materialize_grads(False)
        ys = tuple(draws.rescale(xs, peaks))
        ctx.mark_non_differentiable(*[y for y, needed in zip(ys, ctx.needs_input_grad[-len(xs) :]) if not needed])
        return ys

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        there = [level for level, gradient in enumerate(gradients) if gradient is not None]
        found: list[Tensor | None] = [None] * len(gradients)
        if there:
            rescaled = _rescale_again(ctx.draws.of(there), [gradients[level] for level in there])
            for level, gradient in zip(there, rescaled):
                found[level] = gradient
        return None, None, *found


@torch.compiler.disable  # in the backward pass of a compiled model too
def _rescale_again(draws: _Draws, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    # Without autograd's own work where nobody differentiates the gradients.
    return _Rescale.apply(draws, None, *gradients) if torch.is_grad_enabled() else draws.rescale(gradients)


def _kernels_for(xs: Sequence[Tensor]) -> ModuleType | None:
    """Give the kernels that are made for all of ``xs``."""
    device = xs[0].device
    kernels = load_kernels(device)
    if kernels and all(x.is_contiguous() and x.device == device and x.dtype in kernels.DTYPES for x in xs):
        return kernels
    return None

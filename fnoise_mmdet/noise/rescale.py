"""The fast way of noise that multiplies each feature by a random factor: nothing is stored but the result.

The simple way is :meth:`.Noise.perturb`. It gives the same, and is taken for whatever the kernels are not made for.
"""

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
        noise: Perturbs in the simple way; its settings must not change any more.
        keys: Each names the stream of one of them, see :func:`.make_generator`.
        factors: What the noise multiplies by, where that can be told in this way.
        peaks: Takes what :func:`.measure_peaks` gives, where it is given.
    """
    return list(_Rescale.apply(noise, keys, [make_seed(key) for key in keys], factors, peaks, *xs))


class _Rescale(torch.autograd.Function):
    """All levels at once: to tell a GPU what to do with small ones takes longer than the doing."""

    @staticmethod
    def forward(
        ctx: Any,
        noise: Noise,
        keys: Sequence[Sequence[int]],
        seeds: Sequence[int],
        factors: UniformFactors | None,
        peaks: Tensor | None,
        *xs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.same = noise, keys, seeds, factors
        ctx.set_materialize_grads(False)
        ys = _rescale(noise, keys, seeds, factors, peaks, *xs)
        ctx.mark_non_differentiable(*[y for y, needed in zip(ys, ctx.needs_input_grad[-len(xs) :]) if not needed])
        return ys

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        noise, keys, seeds, factors = ctx.same
        there = [level for level, gradient in enumerate(gradients) if gradient is not None]
        found: list[Tensor | None] = [None] * len(gradients)
        if there:
            keys, seeds, xs = ([every[level] for level in there] for every in (keys, seeds, gradients))
            for level, gradient in zip(there, _rescale_again(noise, keys, seeds, factors, None, *xs)):
                found[level] = gradient
        return (None,) * 5 + tuple(found)


@torch.compiler.disable  # in the backward pass of a compiled model too
def _rescale_again(*args: Any) -> tuple[Tensor, ...]:
    return _Rescale.apply(*args) if torch.is_grad_enabled() else _rescale(*args)


def _rescale(
    noise: Noise,
    keys: Sequence[Sequence[int]],
    seeds: Sequence[int],
    factors: UniformFactors | None,
    peaks: Tensor | None,
    *xs: Tensor,
) -> tuple[Tensor, ...]:
    if factors and (kernels := _kernels_for(xs)):
        return tuple(kernels.rescale(xs, seeds, factors.scale, [factors.rows(x) for x in xs], peaks))
    if peaks is not None:
        measure_peaks(xs, peaks)
    return tuple(Noise.perturb(noise, x, key) for x, key in zip(xs, keys))


def _kernels_for(xs: Sequence[Tensor]) -> ModuleType | None:
    """Give the kernels that are made for all of ``xs``."""
    device = xs[0].device
    kernels = load_kernels(device)
    if kernels and all(x.is_contiguous() and x.device == device and x.dtype in kernels.DTYPES for x in xs):
        return kernels
    return None

"""Linear noise, fused into one pass over the features and one over their gradients, with nothing saved for backward.

The eager path (plain PyTorch) is :meth:`.Noise.perturb`, with the same result. It is the fallback for inputs that the
kernels do not support.
"""

import copy
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .base import Noise, check_features, measure_peaks
from .kernels import load_kernels
from .stream import make_seed


class UniformFactors(NamedTuple):
    """Factors 1 + ``scale`` eps with uniform eps, in the memory order of the features.

    If ``shared``, all samples of a batch have the same factors; if also ``alternating``, every second one has the
    opposite noise.
    """

    scale: float
    shared: bool
    alternating: bool = False

    def rows(self, x: Tensor) -> int:
        """Return the number of equal, contiguous parts of ``x`` that share their factors."""
        return len(x) if self.shared else 1


@torch.compiler.disable  # its random stream cannot be traced
def perturb_linear(
    xs: Sequence[Tensor],
    noise: Noise,
    keys: Sequence[Sequence[int]],
    factors: UniformFactors | None,
    peaks: Tensor | None = None,
) -> list[Tensor]:
    """Multiply features by the factors of a linear noise, and gradients by the same factors.

    Nothing is saved for backward: the factors are redrawn from their streams.

    Args:
        xs: Features, each (B, C, H, W).
        noise: The noise, for the eager path.
        keys: Keys of their random streams, see :func:`.make_generator`.
        factors: Factors for the kernels, None if the noise has other ones.
        peaks: Zeros that are overwritten by :func:`.measure_peaks` of ``xs``; None to skip it.
    """
    draws: _Draws
    if factors and (kernels := _kernels_for(xs)):
        draws = _FusedDraws(kernels, factors, [make_seed(key) for key in keys])
    else:
        draws = _EagerDraws(copy.copy(noise), keys)  # a copy, since a schedule may change the settings
    return list(_LinearNoise.apply(draws, peaks, *xs))


class LinearNoise(Noise):
    """Noise whose output is linear in the features: backward is the same operation, with the same draw.

    The draw must not depend on the values of the features. Nothing is saved for backward.
    """

    def perturb(self, x: Tensor, key: Sequence[int]) -> Tensor:
        if self.is_off:
            return x
        check_features(x, 'features')
        return self._perturb_levels([x], [key])[0]

    def _perturb_levels(
        self, xs: Sequence[Tensor], keys: Sequence[Sequence[int]], peaks: Tensor | None = None
    ) -> list[Tensor]:
        return perturb_linear(xs, self, keys, None, peaks)


class _FusedDraws(NamedTuple):
    """Factors drawn by the kernels, the same for the features of a level and for their gradient."""

    kernels: ModuleType
    factors: UniformFactors
    seeds: Sequence[int]

    def select(self, levels: Sequence[int]) -> '_FusedDraws':
        """Return the draws of some of the levels."""
        return _FusedDraws(self.kernels, self.factors, [self.seeds[i] for i in levels])

    def apply(self, xs: Sequence[Tensor], peaks: Tensor | None = None) -> Sequence[Tensor]:
        """Multiply one tensor per level by its factors."""
        xs = [x.contiguous() for x in xs]  # gradients may be non-contiguous
        rows = [self.factors.rows(x) for x in xs]
        return self.kernels.rescale(xs, self.seeds, self.factors.scale, rows, peaks, self.factors.alternating)


class _EagerDraws(NamedTuple):
    """Factors drawn by torch, the same for the features of a level and for their gradient."""

    noise: Noise
    keys: Sequence[Sequence[int]]

    def select(self, levels: Sequence[int]) -> '_EagerDraws':
        """Return the draws of some of the levels."""
        return _EagerDraws(self.noise, [self.keys[i] for i in levels])

    def apply(self, xs: Sequence[Tensor], peaks: Tensor | None = None) -> Sequence[Tensor]:
        """Multiply one tensor per level by its factors."""
        if peaks is not None:
            measure_peaks(xs, peaks)
        return [Noise.perturb(self.noise, x, key) for x, key in zip(xs, self.keys)]


_Draws = _FusedDraws | _EagerDraws


class _LinearNoise(torch.autograd.Function):
    """Autograd function for all levels in one kernel launch, which dominates the time of small levels."""

    @staticmethod
    def forward(ctx: Any, draws: _Draws, peaks: Tensor | None, *xs: Tensor) -> tuple[Tensor, ...]:
        ctx.draws = draws
        ctx.set_materialize_grads(False)
        ys = tuple(draws.apply(xs, peaks))
        ctx.mark_non_differentiable(*[y for y, needed in zip(ys, ctx.needs_input_grad[-len(xs) :]) if not needed])
        return ys

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        present = [level for level, gradient in enumerate(gradients) if gradient is not None]
        found: list[Tensor | None] = [None] * len(gradients)
        if present:
            perturbed = _apply_to_gradients(ctx.draws.select(present), [gradients[level] for level in present])
            for level, gradient in zip(present, perturbed):
                found[level] = gradient
        return None, None, *found


@torch.compiler.disable  # in the backward pass of a compiled model too
def _apply_to_gradients(draws: _Draws, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    # Autograd is needed only for double backward.
    return _LinearNoise.apply(draws, None, *gradients) if torch.is_grad_enabled() else draws.apply(gradients)


def _kernels_for(xs: Sequence[Tensor]) -> ModuleType | None:
    """Return the kernels that support all of ``xs``, if any; warn, once, where only the features are in the way."""
    device = xs[0].device
    kernels = load_kernels(device)
    if kernels is None or any(x.device != device for x in xs):
        return None
    kinds = [x.dtype for x in xs if x.dtype not in kernels.DTYPES]
    if not kinds and all(x.is_contiguous() for x in xs):
        return kernels
    warnings.warn(
        f'feature noise takes several times as long for features {f"in {kinds[0]}" if kinds else "in channels_last"} '
        f'on this device ({device.type}) as for contiguous ones in {" or ".join(map(str, kernels.DTYPES))}',
        stacklevel=2,
    )
    return None

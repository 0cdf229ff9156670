"""The fast ways of noise that multiplies each feature by a random factor: nothing is stored but the result.

The simple way is :meth:`.Noise.perturb`. Every way gives what it gives, to the last bit, and it is taken for
whatever the others are not made for.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .base import Noise
from .stream import UNIFORM_SCALE, UniformStream, load_kernels, make_seed

# Random numbers that are drawn and applied at a time on a CPU: few enough for its caches, and enough that
# waiting for all threads after each piece costs little. A multiple of 4, see UniformStream.
PIECE = 2**20


class UniformFactors(NamedTuple):
    """Factors 1 + ``scale`` eps with uniform eps, drawn in the order of the features in memory.

    ``rows`` equal parts of the features, one after the other, share a draw.
    """

    scale: float
    rows: int


@torch.compiler.disable  # its random stream is no part of a graph
def rescale(x: Tensor, noise: Noise, key: Sequence[int], factors: UniformFactors | None) -> Tensor:
    """Perturb ``x`` by a noise that is linear in it, and its gradient by the same factors.

    Nothing is kept for the backward pass: the factors are drawn again from their stream.

    Args:
        x: Features, (B, C, H, W).
        noise: Perturbs in the simple way; its settings must not change any more.
        key: Names the stream, see :func:`.make_generator`.
        factors: What the noise multiplies by, where that can be told in this way.
    """
    return _Rescale.apply(x, noise, key, make_seed(key), factors)


class _Rescale(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, noise: Noise, key: Sequence[int], seed: int, factors: UniformFactors | None
    ) -> Tensor:
        ctx.same = noise, key, seed, factors
        if factors and x.is_contiguous():
            # Half precision is rounded once in the simple way, not in each step.
            if x.device.type == 'cpu' and x.dtype in (torch.float32, torch.float64):
                return _rescale_in_pieces(x, seed, *factors)
            if x.is_cuda and (kernels := load_kernels()) and x.dtype in kernels.DTYPES:
                return kernels.rescale(x, seed, *factors)
        return Noise.perturb(noise, x, key)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _rescale_again(grads[0], *ctx.same), None, None, None, None


@torch.compiler.disable  # in the backward pass of a compiled model too
def _rescale_again(*args: Any) -> Tensor:
    return _Rescale.apply(*args)


def _rescale_in_pieces(x: Tensor, seed: int, scale: float, rows: int) -> Tensor:
    """Do it at the speed of a memory copy rather than of several.

    A piece at a time is drawn and applied while it is in the cache; the
    numbers stay integers, whose unit is a part of the scale.
    """
    stream = UniformStream(torch.Generator().manual_seed(seed))
    y = torch.empty_like(x)
    pieces = zip(x.view(rows, -1).split(PIECE, dim=1), y.view(rows, -1).split(PIECE, dim=1))
    eps = torch.empty(min(PIECE, x.numel() // rows), dtype=x.dtype)
    for source, target in pieces:
        part = eps[: source.shape[1]]
        part.copy_(stream.odd_integers(len(part)))
        torch.addcmul(source, source, part, value=scale / UNIFORM_SCALE, out=target)
    return y

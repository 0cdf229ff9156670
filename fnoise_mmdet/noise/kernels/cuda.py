"""GPU kernels in Triton, which is only installed with CUDA builds of torch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import philox_key

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
TILE = 2048  # numbers per program


def rescale(
    xs: Sequence[Tensor],
    seeds: Sequence[int],
    scale: float,
    rows: Sequence[int],
    peaks: Tensor | None = None,
    alternating: bool = False,
) -> list[Tensor]:
    r"""Return :math:`x + scale \cdot x \epsilon`, :math:`\epsilon` from :func:`draw`, in one kernel for all levels.

    Args:
        xs: Contiguous features, each of one of ``DTYPES``, all on one GPU.
        seeds: Seeds of their random numbers.
        scale: Strength of the noise.
        rows: Number of equal, contiguous parts of each that share the numbers.
        peaks: Contiguous float32 zeros, one per tensor, overwritten by its maximum magnitude, NaN if it contains NaN.
        alternating: Whether every second part has the opposite numbers.
    """
    xs, rows = tuple(xs), tuple(rows)
    ys = tuple([torch.empty_like(x) for x in xs])
    numels = tuple([x.numel() // count for x, count in zip(xs, rows)])
    keys = tuple([philox_key(seed) for seed in seeds])
    with torch.cuda.device_of(xs[0]):
        launch = _launcher(xs, ys, numels, rows, peaks, alternating)
        launch(xs, ys, keys, numels, rows, float(scale), peaks, alternating, TILE)
    return list(ys)


def draw(eps: Tensor, seed: int) -> Tensor:
    """Fill a contiguous float32 tensor with the numbers of a seed."""
    with torch.cuda.device_of(eps):
        _draw_kernel[(triton.cdiv(eps.numel(), TILE),)](eps, philox_key(seed), eps.numel(), TILE)
    return eps


_launchers: dict[Any, Callable[..., Any]] = {}


def _launcher(
    xs: tuple[Tensor, ...],
    ys: tuple[Tensor, ...],
    numels: tuple[int, ...],
    rows: tuple[int, ...],
    peaks: Tensor | None,
    alternating: bool,
) -> Callable[..., Any]:
    """Return the launcher of the kernel for one set of shapes, cached per image size.

    Triton's own dispatch repeats the specialization at each launch, which takes 40 of 100 microseconds in a training.
    """
    aligned = tuple([x.data_ptr() % 16 == 0 for x in (xs if peaks is None else (*xs, peaks))])
    kind = xs[0].get_device(), tuple([x.dtype for x in xs]), numels, rows, peaks is None, alternating, aligned
    if kind not in _launchers:
        programs = sum(-(-numel // TILE) * count for numel, count in zip(numels, rows))
        keys = (philox_key(-1),) * len(xs)  # 64 bits, like nearly all keys
        kernel = _rescale_kernel.warmup(xs, ys, keys, numels, rows, 0.0, peaks, alternating, TILE, grid=(1,))
        # Triton's interpreter does not compile.
        _launchers[kind] = kernel[programs, 1, 1] if kernel else _rescale_kernel[programs,]
    return _launchers[kind]


@triton.jit
def _rescale_kernel(xs, ys, keys, numels, rows, scale, peaks, ALTERNATING: tl.constexpr, TILE: tl.constexpr):
    if peaks is not None:
        peaks = peaks.to(tl.pointer_type(tl.int32), bitcast=True)
    program = tl.program_id(0)  # index among the programs of this and later levels
    for level in tl.static_range(len(xs)):
        numel = numels[level]
        tiles = tl.cdiv(numel, TILE)
        if (program >= 0) & (program < tiles * rows[level]):
            tile = program % tiles
            place = _places(tile, TILE)
            inside = place < numel
            row = program // tiles
            place += row.to(tl.int64) * numel
            x = tl.load(xs[level] + place, inside, other=0)
            # Same order of operations and precision of eps as the eager path, for bitwise equal results.
            eps = _numbers(keys[level], tile, TILE).to(x.dtype).to(tl.float32)
            wide = x.to(tl.float32)
            if ALTERNATING:
                eps = tl.where(row % 2 == 1, -eps, eps)
            tl.store(ys[level] + place, (wide + scale * (wide * eps)).to(x.dtype), inside)
            if peaks is not None:
                # As integers, magnitudes have the same order, with Inf and NaN last.
                peak = tl.max(wide.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 0)
                # Most programs find a larger value and skip the atomic.
                tl.atomic_max(peaks + level, peak, peak > tl.load(peaks + level), sem='relaxed')
        program -= tiles * rows[level]


@triton.jit
def _draw_kernel(eps_ptr, key, numel, TILE: tl.constexpr):
    tile = tl.program_id(0)
    place = _places(tile, TILE)
    tl.store(eps_ptr + place, _numbers(key, tile, TILE), place < numel)


@triton.jit
def _places(tile, TILE: tl.constexpr):
    return tile.to(tl.int64) * TILE + tl.arange(0, TILE)


@triton.jit
def _numbers(key, tile, TILE: tl.constexpr):
    """Draw the random numbers of a tile."""
    COUNTERS: tl.constexpr = TILE // 8
    a, b, c, d = tl.randint4x(key, tile * COUNTERS + tl.arange(0, COUNTERS))
    words = tl.join(tl.join(a, c), tl.join(b, d)).to(tl.uint32)
    # 15 bits and a final 1 as the leading mantissa bits of a number in (1, 2), which avoids integer conversion.
    bits = tl.join(words << 7, words >> 9) & 0x7FFF80 | 0x3F800080
    return tl.reshape(bits.to(tl.float32, bitcast=True) * 2 - 3, TILE)

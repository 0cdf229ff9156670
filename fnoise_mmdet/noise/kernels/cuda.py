"""The kernels of a GPU, in Triton, which comes with torch for a GPU alone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import philox_key

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
TILE = 2048  # numbers of a program


def rescale(
    xs: Sequence[Tensor], seeds: Sequence[int], scale: float, rows: Sequence[int], peaks: Tensor | None = None
) -> list[Tensor]:
    r"""Return :math:`x + scale \cdot x \epsilon`, :math:`\epsilon` from :func:`draw`, in one kernel for all levels.

    Args:
        xs: Contiguous features, each of one of ``DTYPES``, all on one GPU.
        seeds: Of the random numbers of each.
        scale: Strength of the noise.
        rows: How many equal parts of each, one after the other in memory, share the numbers.
        peaks: Contiguous zeros of float32, one for each of ``xs``; takes its largest magnitude, or NaN where it has
            one.
    """
    xs, rows = tuple(xs), tuple(rows)
    ys = tuple([torch.empty_like(x) for x in xs])
    numels = tuple([x.numel() // count for x, count in zip(xs, rows)])
    keys = tuple([philox_key(seed) for seed in seeds])
    with torch.cuda.device_of(xs[0]):
        launch = _launcher(xs, ys, numels, rows, peaks)
        launch(xs, ys, keys, numels, rows, float(scale), peaks, TILE)
    return list(ys)


def draw(eps: Tensor, seed: int) -> Tensor:
    """Fill a contiguous tensor of float32 with the numbers of a seed."""
    with torch.cuda.device_of(eps):
        _draw_kernel[(triton.cdiv(eps.numel(), TILE),)](eps, philox_key(seed), eps.numel(), TILE)
    return eps


_launchers: dict[Any, Callable[..., Any]] = {}


def _launcher(
    xs: tuple[Tensor, ...], ys: tuple[Tensor, ...], numels: tuple[int, ...], rows: tuple[int, ...], peaks: Tensor | None
) -> Callable[..., Any]:
    """Return what launches the kernel for features of one kind, of which there are as many as sizes of images.

    Triton by itself would look again at each launch which of its kernels the arguments are for. That takes 40 of 100
    microseconds within a training.
    """
    aligned = tuple([x.data_ptr() % 16 == 0 for x in (xs if peaks is None else (*xs, peaks))])
    kind = xs[0].get_device(), tuple([x.dtype for x in xs]), numels, rows, peaks is None, aligned
    if kind not in _launchers:
        programs = sum(-(-numel // TILE) * count for numel, count in zip(numels, rows))
        keys = (philox_key(-1),) * len(xs)  # of 64 bits, as nearly all are
        kernel = _rescale_kernel.warmup(xs, ys, keys, numels, rows, 0.0, peaks, TILE, grid=(1,))
        # Triton's interpreter compiles nothing.
        _launchers[kind] = kernel[programs, 1, 1] if kernel else _rescale_kernel[programs,]
    return _launchers[kind]


@triton.jit
def _rescale_kernel(xs, ys, keys, numels, rows, scale, peaks, TILE: tl.constexpr):
    if peaks is not None:
        peaks = peaks.to(tl.pointer_type(tl.int32), bitcast=True)
    program = tl.program_id(0)  # among those of this level and of the ones after it
    for level in tl.static_range(len(xs)):
        numel = numels[level]
        tiles = tl.cdiv(numel, TILE)
        if (program >= 0) & (program < tiles * rows[level]):
            tile = program % tiles
            place = _places(tile, TILE)
            inside = place < numel
            place += (program // tiles).to(tl.int64) * numel
            x = tl.load(xs[level] + place, inside, other=0)
            # In the order, and with the precision of eps, of the eager path: the result is the same to the last bit.
            eps = _numbers(keys[level], tile, TILE).to(x.dtype).to(tl.float32)
            wide = x.to(tl.float32)
            tl.store(ys[level] + place, (wide + scale * (wide * eps)).to(x.dtype), inside)
            if peaks is not None:
                # As integers, magnitudes are in the same order, below Inf and below NaN.
                peak = tl.max(wide.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 0)
                # Most find a larger one there, and need not wait in line.
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
    """Draw the numbers of a tile."""
    COUNTERS: tl.constexpr = TILE // 8
    a, b, c, d = tl.randint4x(key, tile * COUNTERS + tl.arange(0, COUNTERS))
    words = tl.join(tl.join(a, c), tl.join(b, d)).to(tl.uint32)
    # 15 bits and a last one at the head of the mantissa of a number in (1, 2): no integer has to be converted.
    bits = tl.join(words << 7, words >> 9) & 0x7FFF80 | 0x3F800080
    return tl.reshape(bits.to(tl.float32, bitcast=True) * 2 - 3, TILE)

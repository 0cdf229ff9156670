"""CPU kernels, compiled by Numba to vector instructions."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from . import philox_key

DTYPES: dict[torch.dtype, tuple[Any, Any]] = {  # dtype -> Numba type and integer type of the same size
    torch.float32: (np.float32, np.int32),
    torch.float64: (np.float64, np.int64),
}
COUNTERS = 1024  # per block, with 8 numbers each, which fits the L1 cache
NUMBERS = 8 * COUNTERS
PART = 2**17  # numbers per work item of a thread


def rescale(
    xs: Sequence[Tensor],
    seeds: Sequence[int],
    scale: float,
    rows: Sequence[int],
    peaks: Tensor | None = None,
    alternating: bool = False,
) -> list[Tensor]:
    r"""Return :math:`x + scale \cdot x \epsilon`, :math:`\epsilon` from :func:`draw`, in one pass.

    Args:
        xs: Contiguous features, each of one of ``DTYPES``.
        seeds: Seeds of their random numbers.
        scale: Strength of the noise.
        rows: Number of equal, contiguous parts of each that share the numbers.
        peaks: Contiguous float32 zeros, one per tensor, overwritten by its maximum magnitude, NaN if it contains NaN.
        alternating: Whether every second part has the opposite numbers.
    """
    ys = [torch.empty_like(x) for x in xs]
    parts: list[tuple[Any, ...]] = []
    firsts = []  # parts of the levels
    numbers = 0
    for x, y, count, seed in zip(xs, ys, rows, seeds):
        firsts.append(len(parts))
        numel = x.numel() // count
        numbers += numel
        level = x.data_ptr(), y.data_ptr(), count, numel, scale, alternating, philox_key(seed)
        compiled = _compile(x.dtype).ctypes
        parts += [(compiled, (*level, begin, min(begin + PART, numel))) for begin in range(0, numel, PART)]
    found = torch.empty(len(parts)) if peaks is None or len(parts) > len(xs) else peaks  # peaks of the parts
    address = found.data_ptr()
    rest = enumerate(parts)  # shared by the threads; next() is atomic in CPython

    def work() -> None:
        for number, (compiled, arguments) in rest:
            compiled(*arguments, address + 4 * number)

    # Torch's thread pool is not accessible from here. These threads sleep when idle, release the GIL
    # while they work, and balance the load if torch's threads keep a core busy.
    others = [_pool(os.getpid()).submit(work) for _ in range(min(torch.get_num_threads() - 1, numbers // PART))]
    work()
    for other in others:
        other.result()
    if peaks is not None and found is not peaks:
        np.maximum.reduceat(found.numpy(), firsts, out=peaks.numpy())  # propagates NaN
    return ys


def draw(eps: Tensor, seed: int) -> Tensor:
    """Fill a contiguous float32 tensor with the numbers of a seed."""
    _draw(eps.view(-1).numpy(), np.uint64(philox_key(seed)))
    return eps


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the thread pool of a process, as threads do not survive a fork."""
    return ThreadPoolExecutor(thread_name_prefix='fnoise')


@numba.njit(fastmath={'contract'})  # FMA, rounds once like torch's addcmul
def _rescale(x, bits, y, scale, alternating, key, begin, end, magnitude):
    """Rescale positions ``begin`` to ``end`` of every row, with ``begin`` at the start of a block.

    Returns the bits of their maximum magnitude: as integers, magnitudes have the same order, with Inf and NaN last.
    """
    words, eps = np.empty(2 * COUNTERS, np.uint64), np.empty(NUMBERS, np.float32)
    peak = 0
    for first in range(begin, end, NUMBERS):
        _numbers(key, first // NUMBERS, words, eps)
        count = min(NUMBERS, end - first)
        for row in range(len(x)):
            source, target = x[row, first : first + count], y[row, first : first + count]
            magnitudes = bits[row, first : first + count]
            strength = -scale if alternating and row % 2 else scale
            for i in range(count):
                target[i] = source[i] + strength * source[i] * eps[i]
                peak = max(peak, magnitudes[i] & magnitude)
    return peak


@cache
def _compile(dtype: torch.dtype) -> Any:
    """Compile :func:`_rescale` for a dtype.

    It takes addresses, since creating and type-checking arrays would dominate for small levels.
    """
    floating, integer = DTYPES[dtype]
    magnitude = np.iinfo(integer).max

    @numba.cfunc('void(voidptr, voidptr, int64, int64, float64, boolean, uint64, int64, int64, voidptr)', cache=True)
    def rescale(source, target, rows, numel, scale, alternating, key, begin, end, found):
        x, y = numba.carray(source, (rows, numel), floating), numba.carray(target, (rows, numel), floating)
        bits, peak = numba.carray(source, (rows, numel), integer), np.empty(1, integer)
        peak[0] = _rescale(x, bits, y, floating(scale), alternating, key, begin, end, magnitude)
        numba.carray(found, 1, np.float32)[0] = peak.view(floating)[0]

    return rescale


@numba.njit(nogil=True, cache=True)
def _draw(out, key):
    words, eps = np.empty(2 * COUNTERS, np.uint64), np.empty(NUMBERS, np.float32)
    for first in range(0, len(out), NUMBERS):
        _numbers(key, first // NUMBERS, words, eps)
        count = min(NUMBERS, len(out) - first)
        out[first : first + count] = eps[:count]


@numba.njit(nogil=True, cache=True)
def _numbers(key, block, words, eps):
    """Draw the numbers of a block; 32-bit words are held in 64 bits, so that products do not overflow."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for i in range(COUNTERS):
        a, b, c, d = np.uint64(block * COUNTERS + i), np.uint64(0), np.uint64(0), np.uint64(0)
        k0, k1 = key & low, key >> half
        for _ in range(10):
            p, q = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
            a, b, c, d = (q >> half) ^ b ^ k0, q & low, (p >> half) ^ d ^ k1, p & low
            k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
        words[2 * i], words[2 * i + 1] = a | b << half, c | d << half
    halves = words.view(np.uint16)  # little-endian on every processor that torch supports
    for i in range(NUMBERS):
        eps[i] = np.float32(halves[i] | np.uint16(1)) * np.float32(2**-15) - np.float32(1)

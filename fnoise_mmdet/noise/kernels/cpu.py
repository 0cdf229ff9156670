"""The kernels of a CPU, compiled by Numba to the vector instructions that it has."""

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

DTYPES: dict[torch.dtype, tuple[Any, Any]] = {  # and integers as long
    torch.float32: (np.float32, np.int32),
    torch.float64: (np.float64, np.int64),
}
COUNTERS = 1024  # of a block, whose 8 numbers each stay in the fastest cache
NUMBERS = 8 * COUNTERS
PART = 2**17  # numbers that a thread takes at a time


def rescale(
    xs: Sequence[Tensor], seeds: Sequence[int], scale: float, rows: Sequence[int], peaks: Tensor | None = None
) -> list[Tensor]:
    r"""Return :math:`x + scale \cdot x \epsilon`, :math:`\epsilon` from :func:`draw`, in one pass.

    Args:
        xs: Contiguous features, each of one of ``DTYPES``.
        seeds: Of the random numbers of each.
        scale: Strength of the noise.
        rows: How many equal parts of each, one after the other in memory, share the numbers.
        peaks: Contiguous zeros of float32, one for each of ``xs``; takes its largest magnitude, or NaN where it has
            one.
    """
    ys = [torch.empty_like(x) for x in xs]
    parts: list[tuple[Any, ...]] = []
    firsts = []  # parts of the levels
    numbers = 0
    for x, y, count, seed in zip(xs, ys, rows, seeds):
        firsts.append(len(parts))
        numel = x.numel() // count
        numbers += numel
        level = x.data_ptr(), y.data_ptr(), count, numel, scale, philox_key(seed)
        compiled = _compile(x.dtype).ctypes
        parts += [(compiled, (*level, begin, min(begin + PART, numel))) for begin in range(0, numel, PART)]
    found = torch.empty(len(parts)) if peaks is None or len(parts) > len(xs) else peaks  # peaks of the parts
    place = found.data_ptr()
    rest = enumerate(parts)  # shared by the threads, which take the next one in a single step of Python

    def work() -> None:
        for number, (compiled, arguments) in rest:
            compiled(*arguments, place + 4 * number)

    # Torch's own threads cannot be had from here. These sleep where there is nothing to do, hold no lock of Python
    # while they work, and leave more to one another where torch's still keep a core busy.
    others = [_pool(os.getpid()).submit(work) for _ in range(min(torch.get_num_threads() - 1, numbers // PART))]
    work()
    for other in others:
        other.result()
    if peaks is not None and found is not peaks:
        np.maximum.reduceat(found.numpy(), firsts, out=peaks.numpy())  # NaN where one of them is
    return ys


def draw(eps: Tensor, seed: int) -> Tensor:
    """Fill a contiguous tensor of float32 with the numbers of a seed."""
    _draw(eps.view(-1).numpy(), np.uint64(philox_key(seed)))
    return eps


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; those of its parent are not there any more where it was forked."""
    return ThreadPoolExecutor(thread_name_prefix='fnoise')


@numba.njit(fastmath={'contract'})  # rounds once, as torch's addcmul does
def _rescale(x, bits, y, scale, key, begin, end, magnitude):
    """Rescale places ``begin`` to ``end`` of every row, from the first of a block on.

    Gives the bits of the largest magnitude among them: as integers, magnitudes are in the same order, below Inf and
    below NaN.
    """
    words, eps = np.empty(2 * COUNTERS, np.uint64), np.empty(NUMBERS, np.float32)
    peak = 0
    for first in range(begin, end, NUMBERS):
        _numbers(key, first // NUMBERS, words, eps)
        count = min(NUMBERS, end - first)
        for row in range(len(x)):
            source, target = x[row, first : first + count], y[row, first : first + count]
            magnitudes = bits[row, first : first + count]
            for i in range(count):
                target[i] = source[i] + scale * source[i] * eps[i]
                peak = max(peak, magnitudes[i] & magnitude)
    return peak


@cache
def _compile(dtype: torch.dtype) -> Any:
    """Compile :func:`_rescale` for a type of features.

    It takes addresses: to make arrays of small levels, and to look at their types, takes longer than the rest.
    """
    floating, integer = DTYPES[dtype]
    magnitude = np.iinfo(integer).max

    @numba.cfunc('void(voidptr, voidptr, int64, int64, float64, uint64, int64, int64, voidptr)', cache=True)
    def rescale(source, target, rows, numel, scale, key, begin, end, found):
        x, y = numba.carray(source, (rows, numel), floating), numba.carray(target, (rows, numel), floating)
        bits, peak = numba.carray(source, (rows, numel), integer), np.empty(1, integer)
        peak[0] = _rescale(x, bits, y, floating(scale), key, begin, end, magnitude)
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
    """Draw the numbers of a block; words of 32 bits stand in 64, in which the product of two has room."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for i in range(COUNTERS):
        a, b, c, d = np.uint64(block * COUNTERS + i), np.uint64(0), np.uint64(0), np.uint64(0)
        k0, k1 = key & low, key >> half
        for _ in range(10):
            p, q = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
            a, b, c, d = (q >> half) ^ b ^ k0, q & low, (p >> half) ^ d ^ k1, p & low
            k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
        words[2 * i], words[2 * i + 1] = a | b << half, c | d << half
    halves = words.view(np.uint16)  # the lower one comes first on every processor that torch runs on
    for i in range(NUMBERS):
        eps[i] = np.float32(halves[i] | np.uint16(1)) * np.float32(2**-15) - np.float32(1)

"""The kernels of a GPU, in Triton: random numbers are drawn where the features pass by, and never stored.

Only :mod:`.rescale` imports this, where features are on a GPU: Triton comes with torch for a GPU alone.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .stream import UNIFORM_SCALE

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Counters of a program, whose 128 threads then move 16 bytes of float32 at a time.
LANES = 512
SEEDS = 2**63 - 1  # which Triton takes for int64; a kernel for larger ones would be another one
UNIT = tl.constexpr(1 / UNIFORM_SCALE)


def rescale(x: Tensor, seed: int, scale: float, rows: int) -> Tensor:
    r"""Give :math:`x + scale \cdot x \epsilon` with :math:`\epsilon` as :func:`draw` gives it, in a single kernel.

    Args:
        x: Contiguous features of one of ``DTYPES``.
        seed: Of the random numbers.
        scale: Strength of the noise.
        rows: How many equal parts of ``x``, one after the other in memory, share the numbers.
    """
    y = torch.empty_like(x)
    numel = x.numel() // rows
    with torch.cuda.device_of(x):
        _rescale_kernel[(triton.cdiv(numel, 8 * LANES),)](x, y, seed & SEEDS, scale, numel, rows, LANES)
    return y


def draw(eps: Tensor, seed: int) -> Tensor:
    """Fill a contiguous tensor of float32 with numbers in (-1, 1): those of :class:`.UniformStream` in law.

    Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is keyed by the seed. A
    counter gives four words of 32 bits, and each of them two numbers: word w of counter ``LANES p + l`` those of the
    places ``LANES (8 p + 2 w) + l``, from the lower half, and ``LANES (8 p + 2 w + 1) + l``, from the upper one.
    """
    with torch.cuda.device_of(eps):
        _draw_kernel[(triton.cdiv(eps.numel(), 8 * LANES),)](eps, seed & SEEDS, eps.numel(), LANES)
    return eps


@triton.jit
def _rescale_kernel(x_ptr, y_ptr, seed, scale, numel, rows, LANES: tl.constexpr):
    place = _first_places(LANES)
    a, b, c, d = _words(seed, LANES)
    _rescale_by_word(x_ptr, y_ptr, a, place, scale, numel, rows, LANES)
    _rescale_by_word(x_ptr, y_ptr, b, place + 2 * LANES, scale, numel, rows, LANES)
    _rescale_by_word(x_ptr, y_ptr, c, place + 4 * LANES, scale, numel, rows, LANES)
    _rescale_by_word(x_ptr, y_ptr, d, place + 6 * LANES, scale, numel, rows, LANES)


@triton.jit
def _rescale_by_word(x_ptr, y_ptr, word, place, scale, numel, rows, LANES: tl.constexpr):
    low, high = _lower(word), _lower(word >> 16)
    for _ in range(rows):
        _rescale(x_ptr, y_ptr, low, place, scale, numel)
        _rescale(x_ptr, y_ptr, high, place + LANES, scale, numel)
        x_ptr += numel
        y_ptr += numel


@triton.jit
def _rescale(x_ptr, y_ptr, eps, place, scale, numel):
    x = tl.load(x_ptr + place, place < numel)
    # As torch.addcmul rounds, so that this is the simple way to the last bit.
    rounded = eps.to(x.dtype).to(tl.float32)
    wide = x.to(tl.float32)
    tl.store(y_ptr + place, (wide + scale * (wide * rounded)).to(x.dtype), place < numel)


@triton.jit
def _draw_kernel(eps_ptr, seed, numel, LANES: tl.constexpr):
    place = _first_places(LANES)
    a, b, c, d = _words(seed, LANES)
    _store_word(eps_ptr, a, place, numel, LANES)
    _store_word(eps_ptr, b, place + 2 * LANES, numel, LANES)
    _store_word(eps_ptr, c, place + 4 * LANES, numel, LANES)
    _store_word(eps_ptr, d, place + 6 * LANES, numel, LANES)


@triton.jit
def _store_word(eps_ptr, word, place, numel, LANES: tl.constexpr):
    tl.store(eps_ptr + place, _lower(word), place < numel)
    tl.store(eps_ptr + place + LANES, _lower(word >> 16), place + LANES < numel)


@triton.jit
def _first_places(LANES: tl.constexpr):
    return tl.program_id(0).to(tl.int64) * (8 * LANES) + tl.arange(0, LANES)


@triton.jit
def _words(seed, LANES: tl.constexpr):
    return tl.randint4x(seed, tl.program_id(0) * LANES + tl.arange(0, LANES))


@triton.jit
def _lower(word):
    """Bring the lower half of a 32-bit word to an odd multiple of 2^-15 in (-1, 1)."""
    signed = (word << 16).to(tl.int32, bitcast=True) >> 16
    return (signed | 1).to(tl.float32) * UNIT

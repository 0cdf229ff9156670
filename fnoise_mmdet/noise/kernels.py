"""The kernels of a GPU, in Triton: random numbers are drawn where the features pass by, and never stored.

Only :func:`.load_kernels` imports this, where features are on a GPU: Triton comes with torch for a GPU alone.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
TILE = 2048  # numbers of a program
SEEDS = 2**63 - 1  # which Triton takes for int64; a kernel for larger ones would be another one


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
        _rescale_kernel[(triton.cdiv(numel, TILE), rows)](x, y, seed & SEEDS, float(scale), numel, TILE)
    return y


def draw(eps: Tensor, seed: int) -> Tensor:
    """Fill a contiguous tensor of float32 with numbers in (-1, 1): those of :class:`.UniformStream` in law.

    Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed by the seed, gives
    four words of 32 bits for each value of its counter, and the halves of a word, the lower one first, are two numbers.
    """
    with torch.cuda.device_of(eps):
        _draw_kernel[(triton.cdiv(eps.numel(), TILE),)](eps, seed & SEEDS, eps.numel(), TILE)
    return eps


@triton.jit
def _rescale_kernel(x_ptr, y_ptr, seed, scale, numel, TILE: tl.constexpr):
    place = _places(TILE)
    row = tl.program_id(1).to(tl.int64) * numel
    x = tl.load(x_ptr + row + place, place < numel)
    # In the order, and with the precision of eps, of the simple way: the result is the same to the last bit.
    eps = _numbers(seed, TILE).to(x.dtype).to(tl.float32)
    wide = x.to(tl.float32)
    tl.store(y_ptr + row + place, (wide + scale * (wide * eps)).to(x.dtype), place < numel)


@triton.jit
def _draw_kernel(eps_ptr, seed, numel, TILE: tl.constexpr):
    place = _places(TILE)
    tl.store(eps_ptr + place, _numbers(seed, TILE), place < numel)


@triton.jit
def _places(TILE: tl.constexpr):
    return tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)


@triton.jit
def _numbers(seed, TILE: tl.constexpr):
    """Draw the numbers of the program's tile."""
    COUNTERS: tl.constexpr = TILE // 8
    a, b, c, d = tl.randint4x(seed, tl.program_id(0) * COUNTERS + tl.arange(0, COUNTERS))
    words = tl.join(tl.join(a, c), tl.join(b, d)).to(tl.uint32)
    # 15 bits and a last one at the head of the mantissa of a number in (1, 2): no integer has to be converted.
    bits = tl.join(words << 7, words >> 9) & 0x7FFF80 | 0x3F800080
    return tl.reshape(bits.to(tl.float32, bitcast=True) * 2 - 3, TILE)

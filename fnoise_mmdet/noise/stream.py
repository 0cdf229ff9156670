"""The noise's own stream of random numbers.

Noise drawn from torch's global stream would change every later draw from it:
which RoIs are sampled, how images are augmented. Two trainings, with and
without noise, would then differ in more than the noise.
"""

import functools
import hashlib
import warnings
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

# The 16-bit numbers of `odd_integers` over this are the uniform numbers.
UNIFORM_SCALE = 2**15
_ODD = np.uint64(0x0001_0001_0001_0001)


def make_seed(key: Sequence[int]) -> int:
    """Make a seed of 64 bits that is a function of ``key`` alone.

    BLAKE2b hashes the key, so that keys which differ in one number give
    unrelated seeds. A training step makes one for every level: this is
    several times as fast as ``numpy.random.SeedSequence``.

    Args:
        key: Non-negative integers that name the draw, e.g. seed, rank,
            iteration, call and level.

    Raises:
        ValueError: A number of the key is negative.
    """
    if min(key) < 0:
        raise ValueError(f'numbers of a key must be >= 0, but got {tuple(key)}')
    words = b','.join(b'%d' % number for number in key)
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), 'little')


def make_generator(key: Sequence[int], device: torch.device | str = 'cpu') -> torch.Generator:
    """Make a random generator that is a function of ``key`` alone.

    Args:
        key: Names the draw, see :func:`make_seed`. torch's generator for the
            CPU takes 32 bits of the seed.
        device: Device of the tensors to be drawn.

    Raises:
        ValueError: A number of the key is negative.
    """
    return torch.Generator(device).manual_seed(make_seed(key))


class UniformStream:
    """Uniform numbers in (-1, 1) of 16 bits each, several times as fast as torch's on a CPU.

    The numbers are the odd multiples of 2^-15: each has the same probability,
    their mean is 0 and their variance 1/3 (1 - 2^-30). Perturbed features do
    not show a finer grain. Four of them are cut from each 64-bit word of SFC64
    (Doty-Humphrey, PractRand; the fastest of NumPy's generators).

    Args:
        generator: What seeds the stream; it goes on by one draw.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._bits = np.random.SFC64(int(torch.empty((), dtype=torch.int64).random_(generator=generator)))

    def odd_integers(self, count: int) -> Tensor:
        """Draw the next numbers, 2^15 times as large: odd 16-bit integers.

        Draws in pieces give the numbers of a single one where the pieces are multiples of 4.
        """
        words = self._bits.random_raw(-(-count // 4))
        words |= _ODD
        return torch.from_numpy(words.view(np.int16)[:count])

    def fill(self, out: Tensor) -> Tensor:
        """Fill a tensor on the CPU with numbers in (-1, 1)."""
        return out.copy_(self.odd_integers(out.numel()).view(out.shape)).div_(UNIFORM_SCALE)


def draw_uniform(out: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a contiguous tensor of float32 with uniform numbers in (-1, 1), in the way that is fast on its device.

    On a GPU they are a function of the generator's seed alone: two draws from one generator are the same.
    """
    if out.device.type == 'cpu':
        return UniformStream(generator).fill(out)
    if out.is_cuda and (kernels := load_kernels()):
        return kernels.draw(out, generator.initial_seed())
    return out.uniform_(-1, 1, generator=generator)


@functools.cache
def load_kernels() -> ModuleType | None:
    """Give the kernels of a GPU, or None where Triton is missing or does not work, and warn of it once.

    Without them everything works as well, only slower, and from other random numbers of the same law.
    """
    try:
        from . import kernels

        kernels.rescale([kernels.draw(torch.empty(1, device='cuda'), 0)], [0], 0.0, [1])
    except Exception as error:  # no Triton, no compiler, a driver or a GPU it is not made for: each its own
        warnings.warn(
            f'Triton cannot be used ({type(error).__name__}: {error}): feature noise takes several times as long '
            'on this GPU, and draws other random numbers than it does with Triton',
            stacklevel=2,
        )
        return None
    return kernels

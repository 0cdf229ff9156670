"""The noise's own stream of random numbers.

Noise drawn from torch's global stream would change every later draw from it:
which RoIs are sampled, how images are augmented. Two trainings, with and
without noise, would then differ in more than the noise.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# The 16-bit numbers of `odd_integers` over this are the uniform numbers.
UNIFORM_SCALE = 2**15
_ODD = np.uint64(0x0001_0001_0001_0001)


def make_generator(key: Sequence[int], device: torch.device | str = 'cpu') -> torch.Generator:
    """Make a random generator that is a function of ``key`` alone.

    ``numpy.random.SeedSequence`` mixes the key, so that keys which differ in
    one number give unrelated streams. It makes 64 bits; torch's generator for
    the CPU takes 32 of them.

    Args:
        key: Non-negative integers that name the draw, e.g. seed, rank,
            iteration, call and level.
        device: Device of the tensors to be drawn.

    Raises:
        ValueError: A number of the key is negative.
    """
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(seed))


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

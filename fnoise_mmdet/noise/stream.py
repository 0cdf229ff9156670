"""The noise's own stream of random numbers.

Noise drawn from torch's global stream would change every later draw from it:
which RoIs are sampled, how images are augmented. Two trainings, with and
without noise, would then differ in more than the noise.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from .kernels import load_kernels


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


def draw_uniform(out: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a contiguous tensor of float32 with uniform numbers in (-1, 1), see :mod:`.kernels`.

    They are a function of the generator's seed alone: two draws from one generator are the same.
    """
    if kernels := load_kernels(out.device):
        return kernels.draw(out, generator.initial_seed())
    return out.uniform_(-1, 1, generator=generator)

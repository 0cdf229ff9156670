"""Random stream of the noise, separate from torch's global stream.

Drawing noise from torch's global stream would change all later draws, such as
RoI sampling and augmentation, so that trainings with and without noise would
differ in more than the noise.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from .kernels import load_kernels


def make_seed(key: Sequence[int]) -> int:
    """Return a 64-bit seed that is a function of ``key`` alone.

    The key is hashed with BLAKE2b, so that keys which differ in one number give
    unrelated seeds. This is several times as fast as
    ``numpy.random.SeedSequence``, which matters once per level and step.

    Args:
        key: Non-negative integers that identify the draw, e.g. seed, rank,
            iteration, call and level.

    Raises:
        ValueError: If a number of the key is negative.
    """
    if min(key) < 0:
        raise ValueError(f'numbers of a key must be >= 0, but got {tuple(key)}')
    words = b','.join(b'%d' % number for number in key)
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), 'little')


@torch.compiler.disable  # a number on the CPU cannot be traced
def global_key() -> tuple[int]:
    """Draw a key from torch's global stream of the CPU."""
    return (int(torch.randint(2**62, ())),)


def make_generator(key: Sequence[int], device: torch.device | str = 'cpu') -> torch.Generator:
    """Return a random generator seeded by ``key`` alone.

    Args:
        key: Identifies the draw, see :func:`make_seed`. torch's generator for the
            CPU uses 32 bits of the seed.
        device: Device of the tensors to be drawn.

    Raises:
        ValueError: If a number of the key is negative.
    """
    return torch.Generator(device).manual_seed(make_seed(key))


def draw_uniform(out: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a contiguous float32 tensor with uniform numbers in (-1, 1), see :mod:`.kernels`.

    They depend only on the seed of the generator, so two draws from one generator are equal.
    """
    if kernels := load_kernels(out.device):
        return kernels.draw(out, generator.initial_seed())
    return out.uniform_(-1, 1, generator=generator)

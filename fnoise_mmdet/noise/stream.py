"""The noise's own stream of random numbers.

Noise drawn from torch's global stream would change every later draw from it:
which RoIs are sampled, how images are augmented. Two trainings, with and
without noise, would then differ in more than the noise.
"""

from collections.abc import Sequence

import numpy as np
import torch


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

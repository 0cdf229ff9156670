"""Kernels for uniform noise as fast as copying the tensor: numbers are generated on the fly and never stored.

The numbers are the same on every device, a function of a seed and of their place. Philox4x32-10 (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed by the seed, maps each counter value to four 32-bit
words; each word is split into two 16-bit integers w, lower half first. The random number is (w | 1) / 2^15 - 1: the odd
multiples of 2^-15 in (-1, 1), each with the same probability, with mean 0 and variance 1/3 (1 - 2^-30). Perturbed
features do not show a finer grain.

Each kind of device has a module with ``DTYPES``, ``draw(eps, seed)`` and ``rescale(xs, seeds, scale, rows, peaks,
alternating)``.
"""

import functools
import importlib
import warnings
from types import ModuleType

import torch

COMPILERS = dict(cpu='Numba', cuda='Triton')


def load_kernels(device: torch.device) -> ModuleType | None:
    """Return the kernels of a device, None if unavailable, with a single warning if they fail.

    Without them the eager path is used, slower and with other random numbers of the same distribution.
    """
    return _load(device.type) if device.type in COMPILERS else None


@functools.cache
def _load(kind: str) -> ModuleType | None:
    try:
        kernels = importlib.import_module(f'{__name__}.{kind}')
        kernels.rescale([kernels.draw(torch.empty(1, device=kind), 0)], [0], 0.0, [1])
    except Exception as error:  # many types: not installed, no compiler, unsupported driver or device
        warnings.warn(
            f'{COMPILERS[kind]} cannot be used ({type(error).__name__}: {error}): feature noise takes several times as '
            f'long on this device, and draws other random numbers than it does with {COMPILERS[kind]}',
            stacklevel=3,
        )
        return None
    return kernels


def philox_key(seed: int) -> int:
    """Return an odd 63-bit key, since Triton compiles other kernels for multiples of 16 and for 64 bits."""
    return seed & (2**63 - 1) | 1

"""Reading checkpoints without running what they hold."""

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from .errors import InputError

# torch's own switches, which count wherever it loads something, within mmengine too.
WEIGHTS_ONLY, ANYTHING = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
_multiarray: Any = (np._core if hasattr(np, '_core') else np.core).multiarray  # before NumPy 2.0
# What mmengine's checkpoints hold besides tensors: the scalars of the log.
ALLOWED = [
    HistoryBuffer, getattr, slice, np.ndarray, np.dtype, _multiarray._reconstruct, _multiarray.scalar,
    *{type(np.dtype(kind)) for kind in (np.int32, np.int64, np.uint32, np.uint64, np.float32, np.float64, np.bool_)},
]  # fmt: skip


def refuse_code() -> None:
    """Have every checkpoint of this process be loaded as weights and plain data only."""
    if os.environ.get(ANYTHING) != '1':
        os.environ[WEIGHTS_ONLY] = '1'
    torch.serialization.add_safe_globals(ALLOWED)


class TrustCheckpoint(argparse.Action):
    """The option ``--trust-checkpoint``: load checkpoints as the programs that they may be."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(
            option_strings,
            dest,
            nargs=0,
            default=False,
            help='load a checkpoint that holds more than weights and plain data, which can run any code: only for '
            'files that you have made yourself, or whose maker you trust',
        )

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any) -> None:
        os.environ.pop(WEIGHTS_ONLY, None)
        os.environ[ANYTHING] = '1'
        setattr(namespace, self.dest, True)


def load_checkpoint(path: str) -> dict[str, Any]:
    """Load a checkpoint, its tensors on the CPU.

    Args:
        path: File or URL.

    Raises:
        InputError: It is not there, cannot be read, or holds more than weights
            and plain data.
    """
    if '://' not in path and not Path(path).is_file():
        raise InputError(f'checkpoint {path} is not a file')
    try:
        if '://' in path:
            content = CheckpointLoader.load_checkpoint(path, map_location='cpu')
        else:
            with torch.serialization.safe_globals(ALLOWED):
                content = torch.load(path, map_location='cpu', weights_only=os.environ.get(ANYTHING) != '1')
    except pickle.UnpicklingError as error:
        asked = _globals_of(path)
        if not asked and 'Unsupported global' not in str(error):
            raise InputError(f'checkpoint {path} cannot be read: {error}') from error
        raise InputError(
            f'checkpoint {path} holds more than weights and plain data ({", ".join(asked) or "unknown objects"}), and '
            'loading it could run any code: where you trust its maker, load it with --trust-checkpoint'
        ) from error
    except Exception as error:  # torn or foreign files fail in many ways
        raise InputError(f'checkpoint {path} cannot be read: {error}') from error
    if not isinstance(content, dict):
        raise InputError(f'checkpoint {path} cannot be read: it holds a {type(content).__name__}, not a dict')
    return content


def _globals_of(path: str) -> list[str]:
    """Name what a checkpoint asks for beyond what is allowed; nothing where it is of torch's format before 1.6."""
    if '://' in path or not zipfile.is_zipfile(path):
        return []
    with torch.serialization.safe_globals(ALLOWED):
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))

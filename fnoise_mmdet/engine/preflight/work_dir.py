"""Checks of the work dir and of the space on its disk."""

import shutil
from pathlib import Path

import mmengine
import torch
from mmengine.config import Config
from mmengine.utils import digit_version
from torch import nn

from ...config.types import type_name
from ...datasets.files import check_writable, existing_parent
from ...errors import InputError
from ..resume import find_checkpoints, latest_checkpoint


def check_work_dir(cfg: Config) -> None:
    """Check that the work dir is writable and does not hold another training, and that resuming is supported.

    Raises:
        InputError: If the work dir is a file or not writable, holds
            checkpoints without the config resuming, or the installed versions
            cannot resume.
    """
    work_dir = Path(cfg.work_dir)
    if work_dir.is_file():
        raise InputError(f'work dir {work_dir} is a file: use a folder with --work-dir')
    try:
        check_writable(work_dir)
    except InputError as error:
        raise InputError(f'work dir {error} (--work-dir)') from None
    if not cfg.get('resume'):
        if latest_checkpoint(work_dir)[0]:
            raise InputError(
                f'work dir {work_dir} already holds the checkpoints of a run: continue it with --resume, '
                'or use another one with --work-dir'
            )
        return
    if digit_version(torch.__version__) >= digit_version('2.6') and digit_version(mmengine.__version__) < digit_version(
        '0.10.8'
    ):
        raise InputError(
            f'mmengine {mmengine.__version__} cannot resume with torch {torch.__version__}: '
            'install torch < 2.6, or the maintained distribution of requirements.txt'
        )


def check_room(cfg: Config, model: nn.Module) -> None:
    """Check that the disk of the work dir has space for the checkpoints, one more than are kept.

    Raises:
        InputError: If it has not.
    """
    kept = kept_checkpoints(cfg)
    if not kept:
        return
    size = checkpoint_bytes(cfg, model)
    there = len(find_checkpoints(Path(cfg.work_dir)))  # of a resumed training
    missing = kept + 1 - min(kept, there)
    free = shutil.disk_usage(existing_parent(Path(cfg.work_dir))).free
    if free < size * missing:
        raise InputError(
            f'the disk of work dir {cfg.work_dir} has {free / 2**20:.0f} MiB left, but {missing} checkpoints need '
            f'{size * missing / 2**20:.0f} MiB: free some, use another --work-dir, or keep fewer with '
            '--cfg-options default_hooks.checkpoint.max_keep_ckpts=1'
        )


def checkpoint_bytes(cfg: Config, model: nn.Module) -> int:
    """Return the size of a checkpoint: weights, buffers, and optimizer state."""
    states = 2 if 'Adam' in type_name(cfg.optim_wrapper.get('optimizer')) else 1  # per parameter
    trained = sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    return sum(one.numel() * one.element_size() for one in model.state_dict().values()) + states * trained


def kept_checkpoints(cfg: Config) -> int:
    """Return the number of checkpoints that a training keeps, 0 if it saves none."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if not isinstance(hook, dict):
        return 0
    length = cfg.train_cfg.get('max_epochs' if hook.get('by_epoch', True) else 'max_iters') or 1
    saved = max(1, length // max(1, hook.get('interval', 1)))
    most = hook.get('max_keep_ckpts', -1)
    return min(saved, most) if most >= 1 else saved

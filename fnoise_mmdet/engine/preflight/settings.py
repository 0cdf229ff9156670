"""Checks of the length, device, learning rate and other settings of a training."""

from functools import partial
from typing import Any

import torch
from mmdet.datasets.samplers import MultiSourceSampler
from mmdet.registry import DATA_SAMPLERS, LOOPS
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.runner import EpochBasedTrainLoop

from ...config.types import type_class, type_name
from ...errors import InputError, did_you_mean
from ..distributed import world_size
from ..mixed_precision import computes_in_bfloat16
from .findings import check_all

LR_FACTOR = 4  # ratio from which a learning rate is assumed to belong to another batch size
ENDLESS = (InfiniteSampler, MultiSourceSampler)  # infinite samplers of mmengine and mmdet


def check_settings(cfg: Config) -> None:
    """Check the types of settings that other checks rely on, the lengths, and the seed.

    Raises:
        InputError: If one is of another type or out of range.
    """
    for name in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not isinstance(cfg.get(name), dict):
            raise InputError(f'{name} must be a dict, but is {cfg.get(name)!r}')
    check_all(
        partial(_check_at_least_one, f'{part}.{key}', (cfg.get(part) or {}).get(key))
        for part, keys in dict(
            train_cfg=('max_epochs', 'max_iters', 'val_interval'),
            train_dataloader=('batch_size',),
            val_dataloader=('batch_size',),
        ).items()
        for key in keys
    )
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and not (type(seed) is int and 0 <= seed < 2**32):
        raise InputError(f'randomness.seed must be an integer from 0 to 2**32 - 1, but is {seed!r}')
    parts = ('val_dataloader', 'val_cfg', 'val_evaluator')
    missing = [name for name in parts if cfg.get(name) is None]
    if 0 < len(missing) < len(parts):
        raise InputError(f'{" and ".join(missing)} is missing: set all of {", ".join(parts)}, or none')


def _check_at_least_one(place: str, value: Any) -> None:
    if value is not None and type(value) is not int:
        raise InputError(f'{place} must be an integer, but is {value!r}')
    if value is not None and value < 1:
        raise InputError(f'{place} must be >= 1, but is {value}')


def check_loops(cfg: Config) -> None:
    """Check that training epochs and validations are finite.

    Raises:
        InputError: If an infinite sampler feeds an epoch-based loop, or the validation interval is not positive.
    """
    loops = {
        'train': 'a training epoch' if _counts_epochs(cfg) else None,  # the other loop counts iterations
        'val': 'the validation' if type_name(cfg.get('val_cfg')) in ('', 'ValLoop', 'TeacherStudentValLoop') else None,
    }
    for part, what in loops.items():
        loader = cfg.get(f'{part}_dataloader') or {}
        for key in ('sampler', 'batch_sampler'):
            cls = type_class(loader.get(key), DATA_SAMPLERS)
            if what and cls is not None and issubclass(cls, ENDLESS):
                raise InputError(
                    f'{what} would never end: {part}_dataloader.{key} is {cls.__name__}, which is infinite. '
                    'Set it to DefaultSampler'
                    + (', or train_cfg to IterBasedTrainLoop with max_iters' if part == 'train' else '')
                )
    _check_at_least_one('train_cfg.val_interval', cfg.train_cfg.get('val_interval'))


def _counts_epochs(cfg: Config) -> bool:
    kind = type_class(cfg.train_cfg, LOOPS)
    return issubclass(kind, EpochBasedTrainLoop) if kind else bool(cfg.train_cfg.get('by_epoch', False))


def check_device(cfg: Config) -> None:
    """Check that mixed precision is supported.

    Raises:
        InputError: If it needs a GPU or bfloat16 arithmetic, which are not available.
    """
    kind = type_name(cfg.optim_wrapper)
    if kind == 'AmpOptimWrapper' and not torch.cuda.is_available():
        raise InputError(
            'mixed precision by AmpOptimWrapper needs a GPU, and torch finds none: use --cfg-options '
            'optim_wrapper.type=OptimWrapper, or --amp for mixed precision on this CPU'
        )
    if kind == 'CPUAmpOptimWrapper' and not computes_in_bfloat16():
        raise InputError(
            'mixed precision needs a GPU, or a CPU with bfloat16 arithmetic (avx512_bf16, amx_bf16 or bf16 '
            'among its flags in /proc/cpuinfo), and this machine has neither: omit --amp'
        )


def check_device_option(device: str | None) -> None:
    """Check that torch can use the device of ``--device``, None for its default.

    Raises:
        InputError: If it is unknown or not available.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # unknown device, no driver, or a build without CUDA
        possible = ['cpu', *(f'cuda:{index}' for index in range(torch.cuda.device_count()))]
        # torch lists all devices that it was written for.
        reason = 'torch has no such device' if 'Expected one of' in str(error) else str(error)
        near = did_you_mean(str(device), possible)
        raise InputError(
            f'--device {device} cannot be used: {reason}; possible here: {", ".join(possible)}{near}'
        ) from error


def warn_of_no_validation(cfg: Config) -> None:
    """Warn where a training never validates."""
    if not cfg.get('val_dataloader'):
        print('warning: the training never validates: the config has no val_dataloader')
        return
    length = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('max_iters')
    begin = cfg.train_cfg.get('val_begin', 1)
    if length and begin > length:  # the last epoch or iteration is always validated
        unit = 'epochs' if cfg.train_cfg.get('max_epochs') else 'iterations'
        print(
            f'warning: the training never validates: it ends after {length} {unit}, before train_cfg.val_begin={begin}'
        )


def warn_of_learning_rate(cfg: Config) -> None:
    """Warn if the learning rate is meant for another batch size (linear scaling rule)."""
    scaling = cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    accumulated = cfg.optim_wrapper.get('accumulative_counts') or 1
    batch = (cfg.train_dataloader.get('batch_size') or 0) * world_size(cfg.get('launcher', 'none')) * accumulated
    rate = cfg.optim_wrapper.get('optimizer', {}).get('lr')
    if not base or not batch or not rate or scaling.get('enable'):
        return
    if batch / base >= LR_FACTOR or base / batch >= LR_FACTOR:
        print(
            f'warning: learning rate {rate:g} is meant for a batch size of {base}, but it is {batch}: scale it '
            f'with --auto-scale-lr, or --cfg-options optim_wrapper.optimizer.lr={rate * batch / base:g}'
        )

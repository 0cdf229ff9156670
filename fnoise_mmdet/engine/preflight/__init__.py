"""Checks of config, data, checkpoints and work dir before a run."""

from .data import check_data
from .findings import check_all
from .model import check_heads, check_hooks, check_model
from .settings import (
    check_device,
    check_device_option,
    check_loops,
    check_settings,
    warn_of_learning_rate,
    warn_of_no_validation,
)
from .training import check_training, describe_training
from .weights import check_checkpoint, check_pretrained
from .work_dir import check_room, check_work_dir, checkpoint_bytes, kept_checkpoints

__all__ = [
    'check_all',
    'check_checkpoint',
    'check_data',
    'check_device',
    'check_device_option',
    'check_heads',
    'check_hooks',
    'check_loops',
    'check_model',
    'check_pretrained',
    'check_room',
    'check_settings',
    'check_training',
    'check_work_dir',
    'checkpoint_bytes',
    'describe_training',
    'kept_checkpoints',
    'warn_of_learning_rate',
    'warn_of_no_validation',
]

"""Checks of the model, its heads and hooks."""

import copy
from functools import partial

from mmdet.registry import HOOKS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from ...config import config_classes, innermost_datasets
from ...config.heads import head_findings
from ...errors import InputError
from ..hooks import NoiseScheduleHook
from .data import reads_classes_as_text
from .findings import check_all, refuse


def check_model(cfg: Config) -> nn.Module:
    """Check the settings of the model, including F-Noise, by building it.

    Returns:
        The model.

    Raises:
        InputError: If a setting is unknown or out of range.
    """
    init_default_scope('mmdet')
    try:
        return MODELS.build(copy.deepcopy(cfg.model))  # mmdet's detectors add to the settings of their heads
    except Exception as error:  # every module raises other types
        raise InputError(f'the model cannot be built: {error}') from error


def check_hooks(cfg: Config, model: nn.Module) -> None:
    """Check the custom hooks by building them, and that they fit the model.

    Raises:
        InputError: If a hook or a setting is unknown or out of range.
    """
    for index, hook in enumerate(cfg.get('custom_hooks') or []):
        try:
            built = HOOKS.build(hook)
            if isinstance(built, NoiseScheduleHook):
                built.configured_values(model)
        except Exception as error:  # every hook raises other types
            raise InputError(f'custom_hooks[{index}] cannot be used: {error}') from error


def check_heads(cfg: Config) -> None:
    """Check that the heads fit the classes of the training data.

    Raises:
        InputError: If a head has too few classes, or another number of class weights.
    """
    if reads_classes_as_text(cfg):
        return
    classes = max(map(config_classes, innermost_datasets(cfg.train_dataloader.dataset)), key=len)
    check_all(partial(refuse, finding) for finding in head_findings(cfg.model, classes))

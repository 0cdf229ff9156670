"""Checks of the files with the initial weights of a training, and of checkpoints."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from torch import nn

from ...config import pretrained_checkpoints
from ...errors import InputError
from ..checkpoint import check_part, check_resumable, load_checkpoint, load_weights, trained_classes
from ..distributed import is_main_process
from .data import some_of

# Share of a module that pretrained weights must fill: mmdet's variants of a ResNet with further weights have 0.6 to 1.
PRETRAINED_SHARE = 0.5


def check_start_weights(cfg: Config, model: nn.Module) -> None:
    """Check the files with the initial weights of a training: ``init_cfg``, ``load_from`` or ``--resume``.

    Args:
        cfg: Config of the training.
        model: Model of the training, whose weights are changed.

    Raises:
        InputError: If a checkpoint cannot be read, fits no part of the model, or cannot be resumed from.
    """
    check_pretrained(cfg, model)
    path = cfg.get('load_from')
    if not path or not _loads_here(path):
        return
    content = load_checkpoint(path)
    if cfg.get('resume'):
        check_resumable(content, path, cfg, model)
    else:
        load_weights(model, content, path, partial=True)


def check_pretrained(cfg: Config, model: nn.Module) -> None:
    """Check that pretrained weights, local or downloaded, are available and fit the part of the model they are for.

    Downloads are kept in torch's cache.

    Raises:
        InputError: If a checkpoint is not found, cannot be read or downloaded, or is of another model.
    """
    for path in filter(_loads_here, pretrained_checkpoints(cfg)):
        parts = [module for module in model.modules() if _is_initialized_from(module, path)]
        try:
            content = load_checkpoint(path)
            for part in parts or [model]:
                check_part(part, content, path, PRETRAINED_SHARE if parts else 0.0)
        except InputError as error:
            raise InputError(
                f'pretrained weights cannot be used: {error}; use a local file with --cfg-options '
                'model.backbone.init_cfg.checkpoint=FILE, or train from random weights with --from-scratch'
            ) from None


def _is_initialized_from(module: nn.Module, path: str) -> bool:
    """Return whether a module itself, and not one of its children, is initialized from a checkpoint."""
    settings = getattr(module, 'init_cfg', None) or []
    return any(one.get('checkpoint') == path for one in ([settings] if isinstance(settings, dict) else settings))


def _loads_here(path: str) -> bool:
    """Return whether this process checks a checkpoint: URLs are checked by rank 0 alone."""
    return '://' not in path or is_main_process()


def check_checkpoint(path: str, classes: Sequence[str] | None = None, model: nn.Module | None = None) -> dict[str, Any]:
    """Check that a checkpoint is readable, was trained on the given classes, and has the weights of the model.

    Args:
        path: File or URL.
        classes: Class names that the checkpoint must have been trained on, or None.
        model: A model into which the weights are loaded, or None.

    Returns:
        The ``meta`` of the checkpoint, empty if it has none.

    Raises:
        InputError: If the checkpoint cannot be read, has other classes, or leaves weights of the model random.
    """
    checkpoint = load_checkpoint(path)
    meta: dict[str, Any] = checkpoint.get('meta') or {}
    trained = trained_classes(meta)
    if classes is not None and trained is not None and trained != tuple(classes):
        if sorted(map(str, trained)) == sorted(classes):
            raise InputError(
                f'checkpoint {path} was trained on the classes of the data in another order, so that labels differ: '
                f'{some_of(trained)}, but the data has {some_of(classes)}'
            )
        raise InputError(
            f'checkpoint {path} was trained on {len(trained)} classes ({", ".join(trained[:5])}...), '
            f'but the data has {len(classes)} ({", ".join(classes[:5])}...)'
        )
    if model is not None:
        load_weights(model, checkpoint, path)
    return meta

"""Hook that logs the loss on the validation set, without noise and augmentation."""

import contextlib
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmdet.models import BaseDetector, SemiBaseDetector
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.registry import HOOKS
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ...config import innermost_datasets, nested_dicts
from ...config.types import type_name
from ...errors import InputError
from ..distributed import unwrapped


@HOOKS.register_module()
class ValidationLossHook(Hook):
    """Log the losses on the validation set at the end of every validation.

    The scalars ``val_loss``, ``val_loss_cls`` and so on are logged with the AP,
    and can be used for ``save_best='val_loss'`` or mmengine's
    ``EarlyStoppingHook``. They distinguish a worse model from a training loss
    raised by noise: layers are in evaluation mode, so noise and dropout are
    off, batch norm uses its running statistics, and images are not augmented.

    Each is the mean over images. Random numbers of a loss (mmdet samples RoIs)
    come from a separate stream with a fixed seed: the same weights give the
    same loss, and the training is not affected.

    The ground truth is needed at the size of the model's input, so the
    ``LoadAnnotations`` of the training pipeline is inserted at the start of the
    validation pipeline. In semi-supervised training it is the supervised loss
    of the student. For a detector whose loss cannot be computed this way, a
    warning is logged instead.
    """

    # Before the logger reads the metrics from the message hub.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._dataloader: DataLoader | None = None
        self._is_off = False

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the losses to the metrics of this validation."""
        if metrics is None or self._is_off:
            return
        try:
            with own_randomness(seed=0):
                if self._dataloader is None:
                    self._dataloader = runner.build_dataloader(loss_dataloader(runner.cfg), seed=0)
                losses = validation_losses(runner.model, self._dataloader)
        except Exception as error:  # a diagnostic must not stop a training
            self._is_off = True
            model = unwrapped(runner.model)
            runner.logger.warning(
                f'no validation loss: the losses of {type(model).__name__} cannot be computed on the validation '
                f'images ({type(error).__name__}: {error}). The training continues without it: choose checkpoints '
                'by the metrics of the evaluator, and remove ValidationLossHook from custom_hooks'
            )
        else:
            found = {f'val_{name}': value for name, value in losses.items()}
            metrics.update(found)
            # mmengine logs whatever is called a loss as the mean over its last window_size values, here validations.
            custom = runner.log_processor.custom_cfg
            known = {one['data_src'] for one in custom}
            custom += [dict(data_src=name, method_name='current') for name in found if name not in known]


def deep_copy(settings: Any) -> Any:
    """Return a part of a config as dicts and lists of its own, so that changes do not reach the config."""
    return Config(dict(copy=settings)).to_dict()['copy']


def copy_val_dataloader(cfg: Config) -> dict[str, Any]:
    """Return a copy of the validation data loader's config, without persistent workers between validations."""
    return {**deep_copy(cfg.val_dataloader), 'persistent_workers': False}


def loss_dataloader(cfg: Config) -> dict[str, Any]:
    """Return the config of the validation data loader, with annotations for the losses.

    Raises:
        InputError: If the training pipeline has no ``LoadAnnotations``.
    """
    load = next(
        (node for node in nested_dicts(cfg.train_dataloader.dataset) if type_name(node) == 'LoadAnnotations'), None
    )
    if load is None:
        raise InputError('the training pipeline has no LoadAnnotations')
    loader = copy_val_dataloader(cfg)
    for dataset in innermost_datasets(loader['dataset']):
        image, *rest = (step for step in dataset['pipeline'] if type_name(step) != 'LoadAnnotations')
        dataset['pipeline'] = [image, deep_copy(load), *rest]
    return loader


@torch.no_grad()
def validation_losses(model: nn.Module, dataloader: DataLoader) -> dict[str, float]:
    """Return the mean of every loss of a detector over a data loader, without noise.

    Args:
        model: An mmdet detector, or its distributed wrapper.
        dataloader: A data loader of :func:`loss_dataloader`.
    """
    detector = unwrapped(model)
    if isinstance(detector, SemiBaseDetector):  # its own loss combines labelled and unlabelled images
        detector = detector.student
    sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    images = torch.zeros((), dtype=torch.float64)
    with _layers_in_evaluation(detector):
        for batch in dataloader:
            data = detector.data_preprocessor(batch, True)
            _, values = detector.parse_losses(detector(**data, mode='loss'))
            size = len(data['data_samples'])
            images += size
            for name, value in values.items():
                if 'loss' in name:
                    sums[name] += float(value) * size
    all_reduce(images)
    for total in sums.values():
        all_reduce(total)
    return {name: float(total / images) for name, total in sums.items()}


@contextlib.contextmanager
def _layers_in_evaluation(detector: Any) -> Iterator[None]:
    """Set layers to evaluation mode, but modules that compute losses to training mode.

    Some detectors and heads prepare inputs of the loss only in training mode,
    e.g. the denoising queries of DINO.
    """
    modes = {module: module.training for module in detector.modules()}
    preprocessor = detector.data_preprocessor
    augments = getattr(preprocessor, 'batch_augments', None)
    try:
        for module in modes:
            module.training = isinstance(module, BaseDetector | BaseDenseHead)
        if augments is not None:
            preprocessor.batch_augments = None
        yield
    finally:
        if augments is not None:
            preprocessor.batch_augments = augments
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed every global random stream inside the block, and restore the states afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)

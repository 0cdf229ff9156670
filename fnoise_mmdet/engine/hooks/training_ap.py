"""Hook that logs the AP on training images."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...config import annotation_file, evaluators, innermost_datasets, is_semi
from ...errors import InputError
from .validation_loss import copy_val_dataloader, deep_copy, own_randomness

# Settings of a data set that say what it reads, rather than how.
SOURCE = ('type', 'data_root', 'ann_file', 'data_prefix', 'metainfo', 'backend_args')


@HOOKS.register_module()
class TrainingAPHook(Hook):
    """Log the AP on training images, evaluated like validation images, after the last validation.

    ``train_bbox_mAP`` and so on are logged with the metrics of the
    validation. Their difference to the AP on validation images shows
    overfitting, which a regularizer should reduce. Images are not augmented,
    and noise is off. If the AP cannot be computed, a warning is logged instead.

    Args:
        images: Number of training images, the first ones. Defaults to None, which is all.
        every: Whether to evaluate after every validation instead of the last one. Defaults to False.
    """

    priority = 'HIGHEST'  # before the logger reads the metrics, and before EMAHook restores the trained weights

    def __init__(self, images: int | None = None, every: bool = False) -> None:
        if images is not None and images < 1:
            raise ValueError(f'images must be >= 1, but got {images}')
        self.images = images
        self.every = every

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the AP on training images to the metrics of this validation."""
        loop = runner.train_loop
        if metrics is None or not (self.every or loop.iter >= loop.max_iters):
            return
        try:
            with own_randomness(seed=0):
                metrics.update(self._evaluate(runner))
        except Exception as error:  # a diagnostic must not stop a training
            runner.logger.warning(f'no AP on training images: {type(error).__name__}: {error}')

    def _evaluate(self, runner: Runner) -> dict[str, float]:
        loader = runner.build_dataloader(training_images(runner.cfg, self.images), seed=0)
        found = evaluate_again(runner, loader, training_evaluators(runner.cfg))
        return {f'train_{name}': value for name, value in found.items()}


@torch.no_grad()
def evaluate_again(runner: Runner, loader: Any, evaluators: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Evaluate a model on a data loader during a validation.

    Args:
        runner: Runner whose model is in evaluation mode.
        loader: Data loader of the images.
        evaluators: Configs of evaluators, whose annotation file has these images and maybe others.

    Returns:
        The metrics without their prefix: mmdet's ``analyze_logs.py`` strips it
        and would confuse them with those of the validation.
    """
    settings: list[dict[str, Any]] = deep_copy(evaluators)
    for metric in settings:
        metric.pop('outfile_prefix', None)  # that of the validation, whose files would be overwritten
    evaluator: Evaluator = runner.build_evaluator(settings)
    evaluator.dataset_meta = loader.dataset.metainfo
    ids = [loader.dataset.get_data_info(index)['img_id'] for index in range(len(loader.dataset))]
    for metric in evaluator.metrics:
        metric.img_ids = ids  # other images would count as without detections
    for batch in loader:
        evaluator.process(data_samples=runner.model.val_step(batch), data_batch=batch)
    found: dict[str, float] = evaluator.evaluate(len(loader.dataset))
    return {name.rpartition('/')[2]: value for name, value in found.items()}


def training_images(cfg: Config, images: int | None = None) -> dict[str, Any]:
    """Return the config of a data loader that loads training images like validation images.

    Raises:
        InputError: If the training concatenates several data sets.
    """
    return load_like_validation(cfg, labelled_dataset(cfg), images)


def load_like_validation(cfg: Config, source: dict[str, Any], images: int | None = None) -> dict[str, Any]:
    """Return the config of a data loader that loads the images of a data set like validation images.

    Args:
        cfg: Config of the training.
        source: Config of the data set.
        images: Number of images, the first ones. Defaults to None, which is all.

    Raises:
        InputError: If the validation concatenates several data sets.
    """
    loader = copy_val_dataloader(cfg)
    dataset, *others = innermost_datasets(loader['dataset'])
    if others:
        raise InputError(f'the validation has {1 + len(others)} data sets, so no single pipeline for other images')
    dataset.update({name: source[name] for name in SOURCE if name in source})
    trained = source.get('indices')
    if isinstance(trained, int | None):
        dataset['indices'] = min((number for number in (trained, images) if number is not None), default=None)
    else:
        dataset['indices'] = list(trained)[:images]
    return loader


def labelled_dataset(cfg: Config) -> dict[str, Any]:
    """Return the config of the labelled training data set, the first one in semi-supervised training.

    Raises:
        InputError: If the training concatenates several.
    """
    first, *others = innermost_datasets(cfg.train_dataloader.dataset)
    if others and not is_semi(cfg):
        raise InputError(f'the training has {1 + len(others)} data sets')
    return first


def training_evaluators(cfg: Config) -> Sequence[dict[str, Any]]:
    """Return the evaluators of the validation for the annotations of the training images."""
    source = labelled_dataset(cfg)
    copies: list[dict[str, Any]] = deep_copy(evaluators(cfg, 'val'))
    for evaluator in copies:
        if 'ann_file' in evaluator:
            evaluator['ann_file'] = str(annotation_file(source))
    return copies

"""Hook that draws clean and perturbed feature maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from ...choices import SOURCES
from ...visualization import Boxes, check_reduction, feature_panel, find_frames, save_arrays, write_gif
from ...visualization.batch import (
    LABELLED,
    as_file_name,
    file_name,
    ground_truth,
    image_id,
    images_of,
    predicted,
    resizes_boxes,
    to_picture,
)
from ...visualization.reductions import CHANNEL_REDUCTIONS, strongest_channels
from ...visualization.tap import Features, FeatureTap, Undrawable, drawn_branch, find_sites
from ..distributed import unwrapped
from .interval import is_due
from .validation_loss import own_randomness

CHANNELS = 'feature_map_channels'  # their key in the message hub, whose contents are kept in checkpoints
PARTS = dict(train='training', val='validation', test='test')


@HOOKS.register_module()
class FeatureMapHook(Hook):
    """Draw feature maps as panels: input, clean on the input and alone, noise, perturbed, relative change.

    In training, a panel shows the noise of the current forward pass. In
    validation and test no noise is applied, and the panel shows what training
    would apply. For a detector without F-Noise only the features are shown.
    The input is drawn with its ground-truth boxes and, in validation and test,
    the predicted boxes with a score of at least 0.3. The channels that are
    shown are chosen before the training, on the first validation image, and
    kept, so that pictures of a run can be compared, and those of runs that
    start from the same weights.

    Any mmdet detector is supported, also in semi-supervised training and
    trackers: in training the student on labelled images, or on those without
    labels if only their features are perturbed, in validation student or
    teacher. Unsupported inputs, such as batches of several video frames, are
    logged once, and the training continues.

    Images are written by the runner's visualizer, to ``vis_data/vis_image/``,
    TensorBoard, Weights & Biases, MLflow or any other visualization backend.
    Between drawings no forward hook is attached and nothing is stored.

    Args:
        interval: Draw the first image of every ``interval``-th training
            batch, and of the last one of a shorter training. Defaults to 50.
        images: Images to draw in every validation and test: a number, taken
            from the start of the data set, or a list of image ids or file
            names. Defaults to 2.
        source: Features to draw. ``'noise'``: the input of the noise, or the
            backbone's outputs without noise. ``'backbone'``, ``'neck'``: the
            outputs of these modules, only clean if the noise is applied later.
            For noise before the neck, ``'neck'`` propagates it: the neck runs
            twice more without gradients, in evaluation mode, on the clean and
            the perturbed features. Defaults to ``'noise'``.
        levels: Indices of the levels to draw, negative ones counted from the
            last. Defaults to None, which is the first three.
        reduction: Reduction of the channels to one map: ``'strongest'``,
            ``'mean'``, ``'max'``, ``'norm'``, ``'pca'`` or ``'top_k'``, see
            :func:`fnoise_mmdet.visualization.choose_reduction`. Defaults to ``'strongest'``.
        top_k: Number of channels shown by ``'top_k'``. Defaults to 9.
        sequence: Whether to animate the panels of each validation image over
            the training, in ``vis_data/feature_maps_val_ID.gif`` with one frame
            per validation, including those before a resume. Requires the local
            visualization backend; each frame has its own colour scale.
            Defaults to True.
        max_files: Maximum number of panels and array files in a work dir,
            after which drawing stops. Defaults to 1000.
        max_size: Longest side of a panel in pixels. Defaults to 1600.
        arrays: Whether to also save the arrays as ``vis_data/*.npz``:
            ``image``, and per level i ``clean_{i}`` and ``perturbed_{i}``.
            Defaults to False.

    Raises:
        ValueError: If a setting is unknown or out of range.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        *,
        interval: int = 50,
        images: int | Sequence[int | str] = 2,
        source: str = 'noise',
        levels: Sequence[int] | None = None,
        reduction: str = 'strongest',
        top_k: int = 9,
        sequence: bool = True,
        max_files: int = 1000,
        max_size: int = 1600,
        arrays: bool = False,
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval must be >= 1, but got {interval}')
        if isinstance(images, str):
            raise ValueError(f'images must be a number or a list of ids or file names, but got {images!r}')
        if isinstance(images, int) and images < 0:
            raise ValueError(f'images must be >= 0, but got {images}')
        if source not in SOURCES:
            raise ValueError(f'source must be one of {SOURCES}, but got {source!r}')
        if levels is not None and (isinstance(levels, str) or not all(isinstance(level, int) for level in levels)):
            raise ValueError(f'levels must be a list of integers, but got {levels!r}')
        check_reduction(reduction, top_k)
        if max_files < 1:
            raise ValueError(f'max_files must be >= 1, but got {max_files}')
        if max_size < 200:
            raise ValueError(f'max_size must be >= 200, but got {max_size}')
        self.interval = interval
        self.images = images
        self.source = source
        self.levels = levels
        self.reduction = reduction
        self.top_k = top_k
        self.sequence = sequence
        self.max_files = max_files
        self.max_size = max_size
        self.arrays = arrays
        self._model: nn.Module | None = None
        self._branch = LABELLED  # drawn in training
        self._tap: FeatureTap | None = None
        self._first: dict[str, list[int | str]] = {}  # ids of the first images of each split
        self._channels: dict[int, list[int]] = {}  # of each level
        self._files = 0
        self._warned: set[str] = set()

    def before_run(self, runner: Runner) -> None:
        """Find the detector, and count the existing files."""
        model = unwrapped(runner.model)
        sites = find_sites(model)
        if not sites:
            self._warn(runner, f'{type(model).__name__} has no backbone')
        elif self.source == 'neck' and all(site.plain_neck is None for site in sites):
            self._warn(runner, f'{type(model).__name__} has no neck')
        else:
            self._model = model
            self._branch = drawn_branch(model)
        folders = Path(runner.work_dir).glob('*/vis_data')
        self._files = sum(
            1
            for folder in folders
            for pattern in ('feature_maps_*.npz', 'vis_image/feature_maps_*.png')
            for _ in folder.glob(pattern)
        )

    def before_train(self, runner: Runner) -> None:
        """Choose the channels to show, or take those that were chosen before a resume."""
        if self.reduction not in CHANNEL_REDUCTIONS:
            return
        self._channels = runner.message_hub.runtime_info.get(CHANNELS, {})
        if self._channels or self._model is None or runner.val_dataloader is None or not is_main_process():
            return
        try:
            self._channels = self._choose_channels(runner)
        except Exception as error:  # each picture then shows its own strongest channels
            runner.logger.debug(f'FeatureMapHook chooses channels anew for each picture: {error}')
        runner.message_hub.update_info(CHANNELS, self._channels)

    def _choose_channels(self, runner: Runner) -> dict[int, list[int]]:
        """Return the strongest channels of each level for the first validation image."""
        assert self._model is not None
        with own_randomness(0), torch.no_grad():
            tap = FeatureTap(self._model, self.source)
            runner.model.eval()
            try:
                batch = pseudo_collate([runner.val_dataloader.dataset[0]])
                runner.model.val_step(batch)
            finally:
                tap.detach()
                runner.model.train()
            maps = tap.take(batch).drawn_maps(0, self.levels)
        return {one.level: strongest_channels(one.clean.float(), self.top_k) for one in maps}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._attach(runner, is_due(runner, self.interval))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self._draw(runner, 'train', data_batch, step=runner.iter + 1)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._attach(runner, bool(self._chosen(runner, 'val', data_batch)))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        self._draw(runner, 'val', data_batch, self._trained(runner), outputs)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._attach(runner, bool(self._chosen(runner, 'test', data_batch)))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        self._draw(runner, 'test', data_batch, self._trained(runner), outputs)

    @staticmethod
    def _unit(runner: Runner) -> str:
        """Return what the training is counted in: ``'epoch'``, or ``'iteration'`` in iteration-based training."""
        # `runner.train_loop` would build the training loop, also in a test.
        return 'iteration' if isinstance(runner._train_loop, IterBasedTrainLoop) else 'epoch'

    def _trained(self, runner: Runner) -> int:
        """Return the number of trained epochs or iterations."""
        return runner.message_hub.get_info('epoch' if self._unit(runner) == 'epoch' else 'iter', -1) + 1

    def _chosen(self, runner: Runner, part: str, data_batch: Any) -> list[int]:
        """Return the indices within a batch of the images to draw."""
        if self._model is None or not is_main_process():
            return []
        try:
            samples = [sample for _, sample in images_of(data_batch)]
        except Undrawable as error:
            self._warn(runner, str(error))
            return []
        if isinstance(self.images, int):
            first = self._first.setdefault(part, [])
            for sample in samples:
                if len(first) < self.images and image_id(sample) not in first:
                    first.append(image_id(sample))
            return [index for index, sample in enumerate(samples) if image_id(sample) in first]
        return [
            index
            for index, sample in enumerate(samples)
            if image_id(sample) in self.images or file_name(sample) in self.images
        ]

    def _attach(self, runner: Runner, due: bool) -> None:
        if self._tap is not None:  # left from an aborted iteration
            self._tap.detach()
            self._tap = None
        if not due or self._model is None or not is_main_process():
            return
        if self._files >= self.max_files:
            self._warn(runner, f'the limit of max_files={self.max_files} is reached')
            return
        self._tap = FeatureTap(self._model, self.source)

    def _draw(self, runner: Runner, part: str, data_batch: Any, step: int, outputs: Sequence | None = None) -> None:
        """Draw the captured features: the first image in training, else the chosen ones."""
        if self._tap is None:
            return
        tap, self._tap = self._tap, None
        tap.detach()
        try:
            features = tap.take(data_batch)
            for index in [0] if part == 'train' else self._chosen(runner, part, data_batch):
                self._draw_image(runner, part, features, data_batch, index, step, outputs)
        except Undrawable as error:
            self._warn(runner, str(error))
        except Exception as error:  # visualization must not stop a training
            self._warn(runner, type(error).__name__, f': {error}')

    def _draw_image(
        self,
        runner: Runner,
        part: str,
        features: Features,
        data_batch: Any,
        index: int,
        step: int,
        outputs: Sequence | None,
    ) -> None:
        image, sample = images_of(data_batch, self._branch)[index]
        site = features.site
        classes = (runner.visualizer.dataset_meta or {}).get('classes', ())
        # Distinguish student and teacher; a tracker has only one detector.
        detector = [as_file_name(site.name)] if site.name not in ('', 'detector') else []
        name = [part, *detector]
        if part == 'train':
            boxes = Boxes(ground_truth(sample, resized=True, classes=classes))
            when = f'iteration {step}' + ('' if self._branch == LABELLED else ' · unlabelled')
        else:
            name.append(as_file_name(image_id(sample)))
            loader = runner.val_dataloader if part == 'val' else runner.test_dataloader
            boxes = Boxes(
                ground_truth(sample, resizes_boxes(loader.dataset), classes),
                None if outputs is None else predicted(outputs[index], classes),
            )
            when = f'{self._unit(runner)} {step}'
        maps = features.drawn_maps(index, self.levels)
        note = caption = ''
        if site.noise is not None and any(one.perturbed is not None for one in maps):
            note = '' if site.noise.training else ' · noise not applied, shown as in training'
            caption = site.noise.noise.describe()
        panel = feature_panel(
            to_picture(image),
            maps,
            ' · '.join([PARTS[part], *detector, file_name(sample), when]) + note,
            self.reduction,
            caption,
            top_k=self.top_k,
            channels={level: few[: self.top_k] for level, few in self._channels.items()},
            boxes=boxes,
            max_size=self.max_size,
        )
        title = '_'.join(['feature_maps', *name])
        runner.visualizer.add_image(title, panel, step)
        self._files += 1
        data_dir = Path(runner.log_dir) / 'vis_data'
        if self.arrays:
            save_arrays(data_dir / f'{title}_{step}.npz', to_picture(image), maps)
            self._files += 1
        if self.sequence and part == 'val':
            frames = find_frames(Path(runner.work_dir), title, step)
            if len(frames) > 1:
                write_gif(data_dir / f'{title}.gif', frames)

    def _warn(self, runner: Runner, reason: str, details: str = '') -> None:
        """Log why nothing is drawn, each reason once."""
        if reason not in self._warned:
            self._warned.add(reason)
            runner.logger.warning(f'FeatureMapHook draws nothing: {reason}{details}')

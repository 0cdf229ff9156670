"""Pictures of feature maps, clean and perturbed, in training and at inference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ..necks import FNoiseNeck
from ..pictures import REDUCTIONS, FeatureMap, feature_panel
from .tap import Tap


@HOOKS.register_module()
class FeatureMapHook(Hook):
    """Draw feature maps as panels: input, clean, noise, perturbed, relative change.

    In training the panel shows the noise of that very forward pass. In
    validation and test no noise is applied, and the panel shows what training
    would do. A detector without F-Noise gets panels of its clean maps.

    The pictures go through the runner's visualizer: ``vis_data/vis_image/`` of
    the run, TensorBoard, and whatever other back end is on. When no picture is
    due, nothing is attached to the model, and nothing is kept or computed.

    Args:
        interval: Draw the first image of every ``interval``-th training
            batch. Defaults to 50.
        images: Images to draw in every validation and test: their number,
            taken from the start of the data set, or a list of image ids or
            file names. Defaults to 2.
        reduction: How a panel goes from channels to one map, see
            :func:`fnoise_mmdet.pictures.feature_panel`. Defaults to ``'strongest'``.
        arrays: Whether to save what is drawn as ``vis_data/*.npz`` too:
            ``image``, and for each level i ``clean_{i}`` and ``perturbed_{i}``.
            Defaults to False.

    Raises:
        ValueError: A setting is out of range.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        *,
        interval: int = 50,
        images: int | Sequence[int | str] = 2,
        reduction: str = 'strongest',
        arrays: bool = False,
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval must be >= 1, but got {interval}')
        if isinstance(images, int) and images < 0:
            raise ValueError(f'images must be >= 0, but got {images}')
        if reduction not in REDUCTIONS:
            raise ValueError(f'reduction must be one of {REDUCTIONS}, but got {reduction!r}')
        self.interval = interval
        self.images = images
        self.reduction = reduction
        self.arrays = arrays
        self._model: nn.Module | None = None
        self._chosen: set[int | str] = set()
        self._tap: Tap | None = None

    def before_run(self, runner: Runner) -> None:
        """Find the detector."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if isinstance(getattr(model, 'neck', None), nn.Module) and hasattr(model, 'backbone'):
            self._model = model
        else:
            runner.logger.warning(f'{type(model).__name__} has no backbone and neck: FeatureMapHook draws nothing')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        if (runner.iter + 1) % self.interval == 0:
            self._attach()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: dict | None = None) -> None:
        self._draw(runner, data_batch, {0: 'train'}, step=runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        self._choose(runner.val_dataloader.dataset)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        if self._chosen_in(data_batch):
            self._attach()

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence | None = None) -> None:
        self._draw_chosen(runner, 'val', data_batch)

    def before_test_epoch(self, runner: Runner) -> None:
        self._choose(runner.test_dataloader.dataset)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        self.before_val_iter(runner, batch_idx, data_batch)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence | None = None
    ) -> None:
        self._draw_chosen(runner, 'test', data_batch)

    def _choose(self, dataset: Any) -> None:
        """Resolve ``images`` to image ids and file names."""
        if isinstance(self.images, int):
            first = range(min(self.images, len(dataset)))
            self._chosen = {dataset.get_data_info(index)['img_id'] for index in first}
        else:
            self._chosen = set(self.images)

    def _chosen_in(self, data_batch: dict) -> dict[int, str]:
        """Give the chosen images of a batch: place in the batch -> image id."""
        return {
            place: str(sample.img_id)
            for place, sample in enumerate(data_batch['data_samples'])
            if sample.img_id in self._chosen or Path(sample.img_path).name in self._chosen
        }

    def _attach(self) -> None:
        if self._model is not None and is_main_process():
            self._tap = Tap(self._model.get_submodule('neck'), self._model.get_submodule('backbone'))

    def _draw_chosen(self, runner: Runner, part: str, data_batch: dict) -> None:
        names = {place: f'{part}_{img_id}' for place, img_id in self._chosen_in(data_batch).items()}
        # The number of epochs trained; `runner.epoch` would build a training loop that testing has no use for.
        self._draw(runner, data_batch, names, step=runner.message_hub.get_info('epoch', -1) + 1)

    def _draw(self, runner: Runner, data_batch: dict, names: dict[int, str], step: int) -> None:
        """Draw what the tap took, for the images at the given places of the batch."""
        if self._tap is None:
            return
        tap, self._tap = self._tap, None
        tap.detach()
        if tap.clean is None or tap.padded_shape is None:
            return
        perturbed, note, caption = tap.perturbed, '', ''
        if isinstance(tap.neck, FNoiseNeck) and not tap.neck.training:
            perturbed, note = tap.neck.preview(tap.clean), ' · not applied: what training would do'
        if isinstance(tap.neck, FNoiseNeck):
            caption = repr(tap.neck.noise)
        for place, name in names.items():
            sample = data_batch['data_samples'][place]
            image = data_batch['inputs'][place].cpu().numpy()[::-1].transpose(1, 2, 0)  # BGR to RGB
            shapes = sample.img_shape[:2], tap.padded_shape
            maps = [
                FeatureMap(
                    f'level {level}',
                    _without_padding(clean[place], *shapes),
                    None if perturbed is None else _without_padding(perturbed[level][place], *shapes),
                )
                for level, clean in enumerate(tap.clean)
            ]
            title = f'{name} · {Path(sample.img_path).name} · step {step}{note}'
            panel = feature_panel(image, maps, title, self.reduction, caption)
            runner.visualizer.add_image(f'feature_maps_{name}', panel, step)
            if self.arrays:
                self._save_arrays(Path(runner.log_dir) / 'vis_data' / f'feature_maps_{name}_{step}.npz', image, maps)

    @staticmethod
    def _save_arrays(path: Path, image: np.ndarray, maps: Sequence[FeatureMap]) -> None:
        arrays: dict[str, Any] = {'image': image}
        for level, (_, clean, perturbed) in enumerate(maps):
            arrays[f'clean_{level}'] = clean.detach().float().cpu().numpy()
            if perturbed is not None:
                arrays[f'perturbed_{level}'] = perturbed.detach().float().cpu().numpy()
        np.savez_compressed(path, **arrays)


def _without_padding(features: Tensor, shape: Sequence[int], padded_shape: Sequence[int]) -> Tensor:
    """Cut the part of (C, H, W) that shows an image of ``shape`` from that of its padded batch."""
    rows, columns = (
        -(-extent * size // padded)  # rounded up
        for extent, size, padded in zip(features.shape[1:], shape, padded_shape)
    )
    return features[:, :rows, :columns]

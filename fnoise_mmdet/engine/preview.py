"""Features of a detector on given images, without a training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import Compose
from mmdet.models.mot import BaseMOTModel
from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ..config import config_classes, innermost_datasets, remove_pretrained
from ..config.types import type_name
from ..errors import ImageError, InputError
from ..noise import Noise
from ..noise.base import in_range
from ..visualization import Boxes, FeatureMap, Sweep
from ..visualization.batch import Undrawable, predicted, to_picture
from ..visualization.tap import Features, FeatureTap
from .checkpoint import load_checkpoint, load_weights
from .preflight import check_device_option, check_model


def load_detector(cfg: Config, checkpoint: str | None, seed: int, device: str) -> nn.Module:
    """Build a detector in evaluation mode, and set the random stream of its noise.

    Args:
        cfg: Config with a model.
        checkpoint: File or URL of the weights; None for random weights.
        seed: Seed of the noise and of random weights.
        device: Device, e.g. ``'cpu'`` or ``'cuda:0'``.

    Raises:
        InputError: If the device cannot be used, the model cannot be built or
            does not take images, or the checkpoint does not fit it.
    """
    check_device_option(device)
    remove_pretrained(cfg)  # weights are loaded from `checkpoint`, or random
    MMLogger.get_current_instance().setLevel('WARNING')  # otherwise one line per weight
    torch.manual_seed(seed)
    MessageHub.get_current_instance().update_info('seed', seed)
    model = check_model(cfg)
    if isinstance(model, BaseMOTModel):
        raise InputError(f'{type(model).__name__} needs videos: use the config of its detector')
    if checkpoint is None:
        initialise(model)
    else:
        load_weights(model, load_checkpoint(checkpoint), checkpoint)
    model.to(device)
    model.eval()  # separate, since eval() of mmdet's distillation detectors returns None
    return model


class ImageFeatures:
    """Features of one image, clean and with noise.

    Args:
        model: A detector in evaluation mode.
        cfg: Config of the model, whose test pipeline reads the image.
        path: Image file.
        source: Module of the features, see :class:`~fnoise_mmdet.visualization.tap.FeatureTap`.
        predict: Whether to predict boxes, too. Defaults to True.

    Raises:
        InputError: If the pipeline cannot read the image (an ImageError), the
            detector cannot process it, or has no such features.
    """

    def __init__(self, model: nn.Module, cfg: Config, path: Path, source: str = 'noise', predict: bool = True) -> None:
        detector: Any = model  # methods of detectors, not of every module
        self._batch = _read(cfg, path)
        self._tap = FeatureTap(model, source)
        output: DetDataSample | None = None
        try:
            with torch.no_grad():
                if predict:
                    output = detector.test_step(self._batch)[0]
                else:
                    detector.extract_feat(detector.data_preprocessor(self._batch, False)['inputs'])
        except Exception as error:  # every detector raises other types
            raise InputError(
                f'{type(model).__name__} cannot process {path}: {type(error).__name__}: {error}'
            ) from error
        finally:
            self._tap.detach()
        self.image = to_picture(self._batch['inputs'][0])
        self.boxes = Boxes()
        if output is not None:
            classes = config_classes(next(innermost_datasets(cfg.test_dataloader.dataset)))
            self.boxes = Boxes(predicted=predicted(output, classes))
        self.noise = self._features().site.noise

    def _features(self) -> Features:
        try:
            return self._tap.take(self._batch)
        except Undrawable as error:
            raise InputError(str(error)) from error

    def maps(self, levels: Sequence[int] | None = None) -> list[FeatureMap]:
        """Return the levels of the image, by default the first three, clean and perturbed as in training.

        Raises:
            InputError: If there is no such level, or the features are not of images.
        """
        try:
            return self._features().drawn_maps(0, levels)
        except Undrawable as error:
            raise InputError(str(error)) from error

    def under(self, noises: Sequence[Noise], levels: Sequence[int] | None = None) -> list[FeatureMap]:
        """Return the first of the given levels under each of several noises.

        Raises:
            InputError: If there is no noise, or no such level.
        """
        if self.noise is None:
            raise InputError('the config has no noise: insert one with --fnoise')
        configured = self.noise.noise
        try:
            found = []
            for noise in noises:
                self.noise.noise = noise
                found.append(self.maps(levels)[0])
            return found
        finally:
            self.noise.noise = configured

    def sweep(self, values: Sequence[float], levels: Sequence[int] | None = None) -> list[Sweep]:
        """Return the levels for several strengths of the noise, with the same random numbers.

        Raises:
            InputError: If there is no noise, a value is out of range, or there
                is no such level.
        """
        if self.noise is None:
            raise InputError('the config has no noise to sweep: insert one with --fnoise')
        noise = self.noise.noise
        setting = strength_of(noise)
        configured = getattr(noise, setting)
        clean: dict[int, Tensor] = {}
        perturbed: dict[int, list[Tensor]] = {}
        try:
            for value in values:
                setattr(noise, setting, in_range(setting, value, 0, 1 if 'prob' in setting else float('inf')))
                for one in self.maps(levels):
                    clean[one.level] = one.clean
                    noisy = one.clean if one.perturbed is None else one.perturbed
                    perturbed.setdefault(one.level, []).append(noisy)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f'--sweep: {error}') from error
        finally:
            setattr(noise, setting, configured)
        return [Sweep(level, x, perturbed[level]) for level, x in clean.items()]


def strength_of(noise: Noise) -> str:
    """Return the name of the strength setting of a noise, ``scale`` for F-Noise."""
    return noise.strengths[-1]


def _read(cfg: Config, path: Path) -> dict[str, Any]:
    """Read an image with the test pipeline of a config, as a batch of one."""
    init_default_scope('mmdet')
    try:
        steps = [step for step in get_test_pipeline_cfg(cfg) if not type_name(step).startswith('LoadAnn')]
        data = Compose(steps)(dict(img_path=str(path), img_id=0))
        return dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
    except Exception as error:  # every pipeline raises other types
        raise ImageError(
            f'the test pipeline of the config cannot read {path}: {type(error).__name__}: {error}'
        ) from error


@torch.no_grad()
def initialise(model: BaseModule) -> None:
    """Initialize every weight.

    Without a checkpoint, some layers (e.g. of TridentNet) keep uninitialized
    memory, which may be NaN.
    """
    model.init_weights()
    for parameter in model.parameters():
        if not (parameter.abs() < 100).all():
            nn.init.normal_(parameter, std=0.01)

"""Compatibility check of F-Noise with a detector, used by ``tools/dev/check_configs.py``."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import mmdet
import torch
from mmdet.models.mot import BaseMOTModel
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from fnoise_mmdet.config import add_fnoise, find_detector, nested_dicts, remove_pretrained
from fnoise_mmdet.config.types import type_name, with_named_types
from fnoise_mmdet.engine.preview import initialise
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.models.layers import PLACES, find_noise_layers
from fnoise_mmdet.visualization import snr_db
from fnoise_mmdet.visualization.tap import Tap

CONFIGS = Path(mmdet.__path__[0]) / '.mim' / 'configs'
IMAGE_SIZES = (128, 320, 512)  # the first that a detector can take; SSD's last levels need the largest
REGIONS = 10  # of a prediction; with the classes of LVIS, mmdet's 300 need minutes and 12 GB
CCT_SNR_DB = 10 * math.log10(3 / 0.3**2)


class Outcome(str, Enum):
    """Outcome of the check of a config."""

    WHOLE = 'whole detector'
    PARTS = 'backbone and neck'  # the rest of the plain detector cannot be built here
    REFUSED = 'refused'  # no place for F-Noise
    UNBUILDABLE = 'not here'  # the plain config cannot be read or run
    FAILED = 'FAILED'  # F-Noise breaks a promise


class PlaceOutcome(str, Enum):
    """Outcome of the check of a place inside a detector."""

    CHECKED = 'checked'
    ABSENT = 'no such place'
    UNRUNNABLE = 'not here'  # the plain detector cannot predict, or its random weights find no region
    FAILED = 'FAILED'  # F-Noise breaks a promise


@dataclass
class Finding:
    """Finding for one config; ``reason`` explains an outcome other than WHOLE."""

    config: str
    detector: str = ''
    backbone: str = ''
    neck: str = ''
    outcome: Outcome = Outcome.WHOLE
    reason: str = ''
    snr_db: tuple[float, ...] = ()  # of each level
    places: dict[str, PlaceOutcome] = field(default_factory=dict)  # of whole detectors
    place_reason: str = ''  # why a place failed

    @property
    def family(self) -> str:
        """The folder of the config."""
        return Path(self.config).parts[0]


class _BackboneAndNeck(BaseModule):
    """Backbone and neck of a detector."""

    def __init__(self, detector: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = MODELS.build(detector['backbone'])
        self.neck = MODELS.build(detector['neck']) if detector.get('neck') else nn.Identity()

    def extract_feat(self, images: Tensor) -> Any:
        return self.neck(self.backbone(images))


def shipped_configs() -> list[str]:
    """Return the paths of all configs of the installed mmdet, except base files."""
    names = (path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py'))
    return sorted(str(name) for name in names if '_base_' not in name.parts)


def read_shipped(name: str) -> Config | None:
    """Load a config of mmdet without pretrained weights.

    Returns:
        The config, or None where the file holds no model.
    """
    cfg = with_named_types(Config.fromfile(CONFIGS / name))
    if 'model' not in cfg:
        return None
    remove_pretrained(cfg)
    for module in nested_dicts(cfg.model):
        if isinstance(module.get('teacher_config'), str):  # relative to the root of mmdet's repository
            module['teacher_config'] = str(CONFIGS.parent / module['teacher_config'])
    return cfg


def neck_types(detector: dict[str, Any]) -> str:
    """Name the type of a detector's neck, or of each in its list, or nothing."""
    neck = detector.get('neck') or []
    return ', '.join(type_name(one) or '?' for one in (neck if isinstance(neck, list) else [neck]))


def check_config(name: str, places: Sequence[str] = PLACES) -> Finding | None:
    """Build a config of mmdet with and without F-Noise, and compare the two.

    Both get the same weights, by strict loading, and the same two images of
    uniform noise. Their state dicts must have the same keys, the features in
    evaluation must be bitwise equal, and every level in training must have the
    signal-to-noise ratio of F-Noise. The same is checked for the places inside
    a whole detector, whose levels are those of a prediction with noise.

    Args:
        name: Path of the config, as of :func:`shipped_configs`.
        places: Places inside whole detectors to check. Defaults to all.

    Returns:
        The finding, None if the file has no model.
    """
    MMLogger.get_instance('mmengine').setLevel('ERROR')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    finding = Finding(name)
    try:
        cfg = read_shipped(name)
    except Exception as error:  # a base of a package that is not installed
        return replace(finding, outcome=Outcome.UNBUILDABLE, reason=_one_line(error))
    if cfg is None:
        return None
    place, detector = find_detector(cfg)
    outer = type_name(cfg.model)
    finding.detector = outer if place == 'model' else f'{outer} of {type_name(detector)}'
    finding.backbone = type_name(detector.get('backbone'))
    finding.neck = neck_types(detector)
    noisy_cfg, original = copy.deepcopy(cfg), copy.deepcopy(cfg)  # some detectors change theirs
    try:
        add_fnoise(noisy_cfg)
    except InputError as error:
        return replace(finding, outcome=Outcome.REFUSED, reason=str(error).partition(': ')[2])
    try:
        try:
            plain = MODELS.build(cfg.model)
            build_noisy = partial(MODELS.build, noisy_cfg.model)
        except Exception as error:  # e.g. a language model that is not installed
            finding.outcome, finding.reason = Outcome.PARTS, _one_line(error)
            plain = _BackboneAndNeck(detector)
            build_noisy = partial(_BackboneAndNeck, find_detector(noisy_cfg)[1])
        initialise(plain)
        plain.eval()  # not in one line: mmdet's distilling detectors return nothing from it
        images = _images(plain)
        expected = _features(plain, images)
    except Exception as error:
        return replace(finding, outcome=Outcome.UNBUILDABLE, reason=_one_line(error))
    try:
        finding.snr_db = _compare(plain, build_noisy(), images, expected)
    except Exception as error:
        return replace(finding, outcome=Outcome.FAILED, reason=_one_line(error))
    for place in places if finding.outcome is Outcome.WHOLE else ():
        try:
            finding.places[place] = _check_place(original, place, plain, images, expected)
        except Exception as error:
            finding.places[place] = PlaceOutcome.FAILED
            finding.place_reason = f'{place}: {_one_line(error)}'
    return finding


def _check_place(cfg: Config, place: str, plain: nn.Module, images: Tensor, expected: Sequence[Tensor]) -> PlaceOutcome:
    """Compare a detector with F-Noise at a place inside it to the plain one.

    Raises:
        AssertionError: If a property is violated.
    """
    cfg = copy.deepcopy(cfg)
    for module in nested_dicts(cfg.model):
        if 'max_per_img' in module:
            module['max_per_img'] = min(module['max_per_img'], REGIONS)
    try:
        noisy = MODELS.build(add_fnoise(cfg, place=place).model)
    except ValueError as error:
        if 'has no place' not in str(error):
            raise
        return PlaceOutcome.ABSENT
    _compare_in_evaluation(plain, noisy, images, expected)
    run = _features if place == 'stage' else _predict
    try:
        run(noisy, images)
    except Exception:  # every detector fails in its own way without a package, proposals or previous frames
        return PlaceOutcome.UNRUNNABLE
    layer: Any = find_noise_layers(noisy)[0]
    ratios: dict[int, float] = {}
    layer.watchers.append(lambda level, x, y: ratios.update({level: snr_db(x, y)} if x.numel() else {}))
    with layer.in_evaluation():
        run(noisy, images)
    if not ratios:
        return PlaceOutcome.UNRUNNABLE
    if any(abs(ratio - CCT_SNR_DB) > 1 for ratio in ratios.values()):
        raise AssertionError(f'the signal-to-noise ratios {ratios} are not those of F-Noise')
    return PlaceOutcome.CHECKED


def _compare_in_evaluation(plain: nn.Module, noisy: nn.Module, images: Tensor, expected: Sequence[Tensor]) -> None:
    """Load the weights of each detector into the other one, and compare their features in evaluation.

    Raises:
        AssertionError: If the keys or the features differ.
    """
    weights = plain.state_dict()
    if list(weights) != list(noisy.state_dict()):
        raise AssertionError('the keys of the state dicts differ')
    noisy.load_state_dict(weights, strict=True)
    plain.load_state_dict(noisy.state_dict(), strict=True)
    noisy.eval()
    found = _features(noisy, images)
    if len(found) != len(expected) or not all(torch.equal(a, b) for a, b in zip(expected, found)):
        raise AssertionError('the features in evaluation differ')


@torch.no_grad()
def _predict(model: nn.Module, images: Tensor) -> None:
    shape = tuple(images.shape[2:])
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))
    _innermost(model).predict(images, [DetDataSample(metainfo=meta) for _ in images])


def _compare(plain: nn.Module, noisy: nn.Module, images: Tensor, expected: list[Tensor]) -> tuple[float, ...]:
    """Compare a detector with F-Noise to the plain one.

    Returns:
        The signal-to-noise ratio of each level in training, in dB.

    Raises:
        AssertionError: If a property is violated.
    """
    _compare_in_evaluation(plain, noisy, images, expected)
    neck = find_noise_layers(noisy)[0]
    tap = Tap(neck)
    noisy.train()
    outputs = _features(noisy, images)
    tap.detach()
    changed = [(x, y) for x, y in zip(_tensors(tap.clean), _tensors(tap.perturbed)) if x is not y]
    if len(changed) != (neck._num_levels or len(_tensors(tap.clean))):
        raise AssertionError(f'{len(changed)} levels are perturbed')
    ratios = tuple(round(snr_db(x, y), 2) for x, y in changed)
    # A level of a few thousand elements has a spread of 0.1 dB.
    if any(abs(ratio - CCT_SNR_DB) > 1 for ratio in ratios):
        raise AssertionError(f'the signal-to-noise ratios {ratios} are not those of F-Noise')
    neck.position = 'post'
    neck._num_levels = neck._known_num_levels()
    if len(_features(noisy, images)) != len(outputs):
        raise AssertionError('the number of levels changes with noise after the neck')
    return ratios


def _innermost(model: nn.Module) -> Any:
    """Return the student of a semi-supervised pair, the detector of a tracker, else the model itself."""
    for name in ('student', 'detector'):
        model = model._modules.get(name) or model
    return model


@torch.no_grad()
def _features(model: nn.Module, images: Tensor) -> list[Tensor]:
    detector = _innermost(model)
    # A model for videos can process single images only with its backbone.
    extract = detector.backbone if isinstance(detector, BaseMOTModel) else detector.extract_feat
    return _tensors(extract(images))


def _tensors(features: Any) -> list[Tensor]:
    """Flatten the output of a backbone or neck: a tensor or a nested sequence."""
    if isinstance(features, Tensor):
        return [features]
    return [tensor for part in features or () for tensor in _tensors(part)]


def _images(model: nn.Module) -> Tensor:
    """Return two images of the smallest size that the detector accepts."""
    for size in IMAGE_SIZES[:-1]:
        images = _uniform(size)
        try:
            _features(model, images)
        except Exception:  # every backbone fails in its own way where a level has no pixel left
            continue
        return images
    return _uniform(IMAGE_SIZES[-1])


def _uniform(size: int) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def _one_line(error: Exception) -> str:
    """Return an error as one line that is the same on every machine."""
    text = ' '.join(str(error).split()).partition(', the current sys.path is')[0]
    return f'{type(error).__name__}: {text.replace(f"{CONFIGS}/", "")}'[:160]

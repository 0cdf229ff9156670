"""Changes to an mmdet config that the command lines offer as options."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset, CocoPanopticDataset, LVISV05Dataset
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from torch import nn

from .data import class_names, find_split, read_coco
from .errors import InputError
from .noise import NOISES, PRESETS
from .options import unknown_options

# Every noise by the name that ``--fnoise`` takes.
NOISE_CONFIGS: dict[str, dict[str, Any]] = {
    **{preset: dict(type='FeatureNoise', preset=preset) for preset in PRESETS},
    **{noise.__name__: dict(type=noise.__name__) for noise in NOISES if noise.__name__ != 'FeatureNoise'},
}
# Where a noise was published for another place than all levels before the neck.
PUBLISHED_PLACES: dict[str, dict[str, Any]] = {
    'mean_normal': dict(levels=[-1]),
    'uniform_20': dict(position='post'),
}
COMPARISON_HOOKS = ('EpochLossHook', 'SNRHook', 'ValidationLossHook', 'RunRecordHook')
SAFETY_HOOKS = ('ExactResumeHook', 'FiniteLossHook', 'CorruptImageHook', 'GracefulStopHook')


def load_config(path: str, options: dict[str, Any] | None = None, fnoise: str | None = None) -> Config:
    """Read a config, put a noise into it, and merge ``--cfg-options`` into the whole.

    Args:
        path: A file, or a config that an installed package ships, such as
            ``mmdet::retinanet/retinanet_r50_fpn_1x_coco.py``.
        options: What to override: dotted keys and their values.
        fnoise: A key of :data:`NOISE_CONFIGS`, or None for the config as it is.

    Raises:
        InputError: The config is not there or cannot be read, has no place for
            the noise, or an option does not fit it.
    """
    shipped = '::' in path
    if not shipped and not Path(path).is_file():
        raise InputError(f'config {path} is not a file')
    try:
        cfg = get_config(path) if shipped else Config.fromfile(path)
    except Exception as error:  # a config is a program: it can fail in any way
        raise InputError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    if fnoise is not None:
        add_fnoise(cfg, NOISE_CONFIGS[fnoise], **PUBLISHED_PLACES.get(fnoise, {}))
    before = copy.deepcopy(cfg)
    try:
        cfg.merge_from_dict(options or {})
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(f'--cfg-options do not fit {path}: {error}') from error
    unknown = unknown_options(before, cfg, options or {})
    if unknown:
        raise InputError(f'--cfg-options do not fit {path}: {"; ".join(unknown)}')
    return cfg


def add_fnoise(
    cfg: Config,
    noise: dict[str, Any] | None = None,
    levels: Sequence[int] | None = None,
    position: str = 'pre',
) -> Config:
    """Put F-Noise into the config of any mmdet detector, in place.

    The neck of the detector, or the list of its necks, goes into an
    :class:`~fnoise_mmdet.FNoiseNeck`; a detector without a neck gets one that
    holds nothing but the noise, and around the backbone of a detector that
    takes no neck goes one that perturbs what the backbone gives. The detector
    is ``cfg.model``, or what its ``detector`` holds in semi-supervised
    training and in tracking. The ``teacher_neck`` of a distillation is left as
    it is.

    Args:
        cfg: Config of a training.
        noise: Config of the noise. Defaults to ``dict(type='FeatureNoise')``,
            which is CCT's F-Noise.
        levels: Indices of the levels to perturb. Defaults to None, which is every level.
        position: ``'pre'`` or ``'post'``: before or after the neck.

    Returns:
        The same config.

    Raises:
        InputError: The config has no detector with a backbone, or has F-Noise already.
    """
    cannot = f'F-Noise cannot be put into {cfg.filename or "the config"}'
    if not cfg.get('model'):
        raise InputError(f'{cannot}: it has no model')
    place, detector = find_detector(cfg)
    if not (detector.get('backbone') or {}).get('type'):
        raise InputError(f'{cannot}: its {place} (type {detector.get("type")}) has no backbone of mmdet')
    if any(module.get('type') == 'FNoiseNeck' for module in nested_dicts(detector)):
        raise InputError(f'{cannot}: its {place} has F-Noise already')
    # Without a neck in the settings of the detector, the noise goes after the backbone, where a neck would stand.
    part, position = ('neck', position) if _takes_neck(detector['type']) else ('backbone', 'post')
    wrapper = dict(type='FNoiseNeck', neck=detector.get(part), noise=noise or dict(type='FeatureNoise'))
    if levels is not None:
        wrapper['levels'] = levels
    if position != 'pre':
        wrapper['position'] = position
    detector[part] = wrapper
    _import_package(cfg)
    return cfg


def add_comparison_hooks(cfg: Config) -> Config:
    """Add the hooks whose records a comparison reads, and those that lose nothing, where the config does not have them.

    Our own configs do; a config that mmdet ships has none of them. The config
    is changed in place.
    """
    hooks = list(cfg.get('custom_hooks') or [])
    there = {hook.get('type') for hook in hooks}
    cfg.custom_hooks = hooks + [dict(type=name) for name in (*COMPARISON_HOOKS, *SAFETY_HOOKS) if name not in there]
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if checkpoint and checkpoint.get('type') == 'CheckpointHook':
        checkpoint.type = 'SafeCheckpointHook'
    use_complete_metric(cfg)
    _import_package(cfg)
    return cfg


def use_complete_metric(cfg: Config) -> None:
    """Replace mmdet's CocoMetric, which gives a wrong AP for some ids and none where nothing is detected, in place."""
    for part in ('val', 'test'):
        for evaluator in evaluators(cfg, part):
            if evaluator.get('type') in ('CocoMetric', 'mmdet.CocoMetric', CocoMetric):
                evaluator['type'] = 'CompleteCocoMetric'
                _import_package(cfg)


def _import_package(cfg: Config) -> None:
    """Have the config import this package, so that mmdet's own tools can read it."""
    custom = cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False)
    imports = [custom['imports']] if isinstance(custom['imports'], str) else list(custom['imports'])
    if 'fnoise_mmdet' not in imports:
        cfg.custom_imports = {**custom, 'imports': [*imports, 'fnoise_mmdet']}


def find_detector(cfg: Config) -> tuple[str, dict[str, Any]]:
    """Give the place of the detector in a config with a model, and its settings: ``model``, or ``model.detector``."""
    place, detector = 'model', cfg.model
    while 'backbone' not in detector and 'detector' in detector:
        place, detector = f'{place}.detector', detector['detector']
    return place, detector


def _takes_neck(kind: Any) -> bool:
    """Tell whether a type of detector, given by name or as a class, has a neck in its settings."""
    init_default_scope('mmdet')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    # One that is not registered, or stands in for a package that is not installed, is taken to.
    return not (isinstance(cls, type) and issubclass(cls, nn.Module)) or 'neck' in _parameters(cls)


def _parameters(cls: type) -> set[str]:
    """Give the names of the constructor's parameters, those that it hands on to its ancestors included."""
    constructors = (vars(ancestor).get('__init__') for ancestor in cls.__mro__)
    return {name for constructor in constructors if constructor for name in inspect.signature(constructor).parameters}


def innermost_datasets(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the configs of the data sets inside wrappers such as RepeatDataset and ConcatDataset."""
    if 'datasets' in dataset:
        for inner in dataset['datasets']:
            yield from innermost_datasets(inner)
    elif 'dataset' in dataset:
        yield from innermost_datasets(dataset['dataset'])
    else:
        yield dataset


def is_coco(dataset: dict[str, Any]) -> bool:
    """Tell whether a data set's annotations are in COCO's instance format."""
    cls = DATASETS.get(dataset['type'])
    return (
        cls is not None
        and issubclass(cls, CocoDataset)
        and not issubclass(cls, CocoPanopticDataset | LVISV05Dataset)  # kin of the class, not of its format
    )


def evaluators(cfg: Config, part: str) -> list[dict[str, Any]]:
    """Return the evaluators of a part, val or test."""
    evaluator = cfg.get(f'{part}_evaluator') or []
    return list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]


def use_data_root(cfg: Config, data_root: str | None, required: Sequence[str]) -> None:
    """Redirect every data loader and evaluator to a folder in COCO layout, in place.

    Without ``data_root`` the config's own paths stand where they lead to
    files; else its ``data_root`` is looked through for the other layouts that
    :func:`~fnoise_mmdet.data.find_split` knows.

    When the data set lacks a class of the config, the config takes over the
    data set's classes, number of classes of the heads included.

    Args:
        cfg: Config to change.
        data_root: Folder of the data set, or None.
        required: The parts that must be there; another one that is not keeps its loader.

    Raises:
        InputError: The folder, or a required part of it, is not there, or the
            config joins several data sets in one loader.
    """
    if data_root is None:
        if 'data_root' not in cfg or all(
            (Path(dataset.get('data_root', '')) / dataset.get('ann_file', '')).is_file()
            for part in required
            if cfg.get(f'{part}_dataloader')
            for dataset in innermost_datasets(cfg[f'{part}_dataloader'].dataset)
        ):
            return
        data_root = cfg.data_root
    root = Path(data_root)
    if not root.is_dir():
        raise InputError(
            f'data root {root} is not a folder: make it with tools/coco_sample.py (a sample of COCO) or '
            'tools/make_shapes.py (the embedded data set), or name another one with --data-root'
        )
    cfg.data_root = str(root)
    wanted = config_classes(next(innermost_datasets(cfg[f'{required[0]}_dataloader'].dataset)))
    classes: tuple[str, ...] | None = None
    for part in ('train', 'val', 'test'):
        if not cfg.get(f'{part}_dataloader'):
            continue
        try:
            split = find_split(root, part)
        except InputError:
            if part in required:
                raise
            continue
        datasets = list(innermost_datasets(cfg[f'{part}_dataloader'].dataset))
        if len(datasets) > 1:
            raise InputError(
                f'{part}_dataloader joins {len(datasets)} data sets, which --data-root cannot redirect to one folder: '
                'set their paths in the config'
            )
        datasets[0].update(data_root=str(root), ann_file=split.ann_file, data_prefix=dict(img=split.image_folder))
        for evaluator in evaluators(cfg, part):
            if 'ann_file' in evaluator:
                evaluator['ann_file'] = str(root / split.ann_file)
        if part in required:
            names = class_names(read_coco(root / split.ann_file))
            if classes is not None and names != classes:
                raise InputError(f'the {part} annotations of {root} have other categories than those of {required[0]}')
            classes = names
    # mmdet's labels are in the order of the annotation file.
    if classes is not None and wanted != tuple(name for name in classes if name in wanted):
        use_classes(cfg, classes)


def config_classes(dataset: dict[str, Any]) -> tuple[str, ...]:
    """Give the class names that a data set's config asks for."""
    names = dataset.get('metainfo', {}).get('classes') or DATASETS.get(dataset['type']).METAINFO.get('classes', ())
    return tuple(names)


def use_classes(cfg: Config, names: Sequence[str]) -> None:
    """Make data sets and heads those of the given classes, in place."""
    datasets = [
        dataset
        for part in ('train', 'val', 'test')
        if cfg.get(f'{part}_dataloader')
        for dataset in innermost_datasets(cfg[f'{part}_dataloader'].dataset)
    ]
    if all(config_classes(dataset) == tuple(names) for dataset in datasets):
        return
    print(f"classes: {len(names)} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}) instead of the config's")
    for dataset in datasets:
        dataset['metainfo'] = dict(classes=tuple(names))
    for module in nested_dicts(cfg.model):
        if 'num_classes' in module:
            module['num_classes'] = len(names)


def nested_dicts(node: Any) -> Iterator[dict[str, Any]]:
    """Walk through every dict of a nested config."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            yield from nested_dicts(child)


def pretrained_checkpoints(cfg: Config) -> list[str]:
    """Give the checkpoints that building the model will load."""
    return [node['checkpoint'] for node in nested_dicts(cfg.model) if node.get('type') == 'Pretrained']


def leave_out_checkpoints(cfg: Config) -> None:
    """Have the model built with random weights where it would load pretrained ones, in place."""
    for module in nested_dicts(cfg.model):
        if 'checkpoint' in (module.get('init_cfg') or {}):
            module['init_cfg'] = None


def train_from_scratch(cfg: Config) -> None:
    """Make the backbone train from random weights, in place.

    No checkpoint is fetched, no stage is frozen, and batch norm is trained:
    frozen random stages, or statistics that were never estimated, would spoil
    the training.

    Raises:
        InputError: The model has no backbone.
    """
    if 'backbone' not in cfg.model:
        raise InputError(f'--from-scratch needs a model with a backbone, but {cfg.model.get("type")} has none')
    backbone = cfg.model.backbone
    settings = dict(init_cfg=None, frozen_stages=-1, norm_eval=False)
    known = _parameters(MODELS.get(backbone.type))
    backbone.update({name: value for name, value in settings.items() if name in known})
    if 'norm_cfg' in backbone:
        backbone.norm_cfg.requires_grad = True
    cfg.load_from = None

"""Load an mmdet config, and change it according to command line options."""

import copy
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mmdet
from mmdet.datasets import CocoDataset, CocoPanopticDataset, LVISV05Dataset
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.hub import get_config
from torch import nn

from ..cli.options import check_config_path
from ..cli.parser import command_for
from ..datasets import class_names, find_split, read_coco
from ..datasets.images import printable
from ..errors import InputError, did_you_mean
from .heads import set_classes
from .noises import noise_settings
from .options import unknown_options
from .types import type_class, type_name, with_named_types

COMPARISON_HOOKS = ('EpochLossHook', 'SNRHook', 'ValidationLossHook', 'RunRecordHook')
SHIPPED = Path(mmdet.__file__).parent / '.mim' / 'configs'
OWN = 'fnoise_mmdet::'  # configs that come with this package
PRETRAINED = ('pretrained', 'teacher_ckpt')  # settings of a checkpoint other than init_cfg
SAFETY_HOOKS = ('ExactResumeHook', 'FiniteLossHook', 'CorruptImageHook', 'GracefulStopHook')


def load_config(path: str, options: dict[str, Any] | None = None, fnoise: str | None = None) -> Config:
    """Read a config, insert a noise, and merge ``--cfg-options``.

    Args:
        path: A file, or a config shipped with an installed package, such as
            ``mmdet::retinanet/retinanet_r50_fpn_1x_coco.py`` or ``fnoise_mmdet::demo_fnoise.py``.
        options: Overrides, dotted keys and their values.
        fnoise: Name of a noise, see :func:`.noise_settings`, or None to insert none.

    Raises:
        InputError: If the config is not found or cannot be read, the noise is
            unknown or has no place in it, or an option does not fit it.
    """
    if path.startswith(OWN):
        path = str(own_configs() / path.removeprefix(OWN))
    check_config_path(path)
    try:
        cfg = with_named_types(get_config(path) if '::' in path else Config.fromfile(path))
    except (Exception, SystemExit) as error:  # a config is a program: it can fail in any way
        package, _, name = path.partition('::')
        if package == 'mmdet' and not (SHIPPED / name).is_file():
            names = [str(file.relative_to(SHIPPED)) for file in SHIPPED.rglob('*.py')]
            raise InputError(f'mmdet has no config {name}{did_you_mean(name, names)}') from None
        if fault := missing_base(path):
            raise InputError(fault) from None
        raise InputError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    if fnoise is not None:
        add_fnoise(cfg, **noise_settings(fnoise))
    merge_options(cfg, options or {}, f'--cfg-options do not fit {path}')
    return cfg


def missing_base(path: str) -> str:
    """Return the message for the first ``_base_`` of a config that is not found, an empty text if there is none."""
    files = [] if '::' in path else [Path(path)]  # those that are shipped are complete
    for file in files:  # which grows
        try:
            bases = Config._get_base_files(str(file))
        except Exception:  # not what is wrong with the bases: the caller reports it
            return ''
        for base in bases:
            package, _, name = str(base).rpartition('::')
            folder = {'': file.parent, 'mmdet': SHIPPED, 'fnoise_mmdet': own_configs()}.get(package)
            if folder is None:
                continue
            found = folder / name
            near = did_you_mean(str(found), map(str, folder.rglob('*.py') if package else found.parent.glob('*.py')))
            if package == 'fnoise_mmdet':
                use = f': use {found}' if found.is_file() else near
                return f'_base_ {base} of {file}: mmengine finds configs of fnoise_mmdet only by their path{use}'
            if not found.is_file():
                return f'_base_ {base} of {file} not found{near}'
            if not package and found not in files:
                files.append(found)
    return ''


def own_configs() -> Path:
    """Return the folder of the configs that come with this package: in a wheel, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def merge_options(cfg: Config, options: dict[str, Any], cannot: str) -> None:
    """Override settings of a config, in place.

    Args:
        cfg: The config.
        options: Overrides, dotted keys and their values.
        cannot: Beginning of the error's message.

    Raises:
        InputError: If an option does not fit the config.
    """
    before = copy.deepcopy(cfg)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(f'{cannot}: {error}') from error
    unknown = unknown_options(before, cfg, options)
    if unknown:
        raise InputError(f'{cannot}: {"; ".join(unknown)}')


def add_fnoise(
    cfg: Config,
    noise: dict[str, Any] | None = None,
    levels: Sequence[int] | None = None,
    place: str = 'pre',
) -> Config:
    """Insert F-Noise into the config of any mmdet detector, in place.

    For noise before or after the neck, the neck of the detector, or its list
    of necks, is wrapped in an :class:`~fnoise_mmdet.FNoiseNeck`. A detector
    without a neck gets one that holds only the noise; if its class takes no
    neck, the backbone is wrapped and its outputs are perturbed. For another
    place the detector becomes an :class:`~fnoise_mmdet.FNoiseDetector`. The
    detector is ``cfg.model``, or its ``detector`` in semi-supervised training
    and tracking. The ``teacher_neck`` of a distillation is not changed.

    Args:
        cfg: Training config.
        noise: Config of the noise. Defaults to ``dict(type='FeatureNoise')``, CCT's F-Noise.
        levels: Indices of the levels to perturb. Defaults to None, which is every level.
        place: ``'pre'`` or ``'post'``, before or after the neck; ``'stage'``, ``'roi'``, ``'query'`` or the name of a
            module, as of :class:`~fnoise_mmdet.FNoiseDetector`. Defaults to ``'pre'``.

    Returns:
        The same config.

    Raises:
        InputError: If the config has no detector with a backbone, or already has F-Noise.
    """
    cannot = f'F-Noise cannot be inserted into {cfg.filename or "the config"}'
    if not isinstance(cfg.get('model'), dict):
        raise InputError(f'{cannot}: it has no model')
    key, detector = find_detector(cfg)
    if not type_name(detector.get('backbone')):
        raise InputError(f'{cannot}: its {key} (type {type_name(detector)}) has no backbone of mmdet')
    if has_fnoise(cfg):
        raise InputError(f'{cannot}: its {key} already has F-Noise')
    settings: dict[str, Any] = dict(noise=noise or dict(type='FeatureNoise'))
    if levels is not None:
        settings['levels'] = levels
    if place in ('pre', 'post'):
        # Without a neck among its settings, the detector gets the noise after the backbone, where a neck would be.
        part, place = ('neck', place) if _takes_neck(detector) else ('backbone', 'post')
        if place == 'post':
            settings['position'] = place
        detector[part] = dict(type='FNoiseNeck', neck=detector.get(part), **settings)
    else:
        inner = copy.copy(detector)
        detector.clear()
        detector.update(type='FNoiseDetector', detector=inner, place=place, **settings)
    import_package(cfg)
    return cfg


def without_fnoise(node: Any) -> Any:
    """Return a part of a config with each FNoiseNeck replaced by its inner neck, and FNoiseDetector by its detector."""
    if _is_fnoise(node):
        return without_fnoise(node.get('neck', node.get('detector')))
    if isinstance(node, dict):
        return type(node)({name: without_fnoise(child) for name, child in node.items()})
    if isinstance(node, list | tuple):
        children: list[Any] = []
        for child in node:
            plain = without_fnoise(child)
            if not _is_fnoise(child):
                children.append(plain)
            elif plain is not None:
                children += plain if isinstance(plain, list | tuple) else [plain]
        return type(node)(children)
    return node


def has_fnoise(cfg: Config) -> bool:
    """Return whether the model of a config has F-Noise or one of its neighbours."""
    return any(map(_is_fnoise, nested_dicts(cfg.model)))


def _is_fnoise(node: Any) -> bool:
    return type_name(node) in ('FNoiseNeck', 'FNoiseDetector')


def add_comparison_hooks(cfg: Config, training_ap: bool = False, feature_maps: bool = False) -> Config:
    """Add missing hooks for comparison, checkpointing and exact resume, in place.

    The configs of this package have them; those of mmdet do not.

    Args:
        cfg: Training config.
        training_ap: Whether to add :class:`~fnoise_mmdet.TrainingAPHook` too.
        feature_maps: Whether to add :class:`~fnoise_mmdet.FeatureMapHook` too.

    Returns:
        The same config.
    """
    hooks = list(cfg.get('custom_hooks') or [])
    present = set(map(type_name, hooks))
    optional = dict(TrainingAPHook=training_ap, FeatureMapHook=feature_maps)
    wanted = (*COMPARISON_HOOKS, *SAFETY_HOOKS, *(name for name, is_wanted in optional.items() if is_wanted))
    cfg.custom_hooks = hooks + [dict(type=name) for name in wanted if name not in present]
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if checkpoint and type_name(checkpoint) == 'CheckpointHook':
        checkpoint.type = 'SafeCheckpointHook'
    use_complete_metric(cfg)
    import_package(cfg)
    return cfg


def use_complete_metric(cfg: Config) -> None:
    """Replace mmdet's CocoMetric, which is wrong for some ids and reports no AP without detections, in place."""
    for part in ('val', 'test'):
        for evaluator in evaluators(cfg, part):
            if type_name(evaluator) == 'CocoMetric':
                evaluator['type'] = 'CompleteCocoMetric'
                import_package(cfg)


def import_package(cfg: Config) -> None:
    """Make the config import this package, so that mmdet's own tools can read it."""
    custom = cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False)
    imports = [custom['imports']] if isinstance(custom['imports'], str) else list(custom['imports'])
    if 'fnoise_mmdet' not in imports:
        cfg.custom_imports = {**custom, 'imports': [*imports, 'fnoise_mmdet']}


def find_detector(cfg: Config) -> tuple[str, dict[str, Any]]:
    """Return the key of the detector (``model`` or ``model.detector``) and its settings."""
    place, detector = 'model', cfg.model
    while 'backbone' not in detector and 'detector' in detector:
        place, detector = f'{place}.detector', detector['detector']
    return place, detector


def _takes_neck(detector: dict[str, Any]) -> bool:
    """Return whether the class of a detector accepts a neck."""
    cls = type_class(detector, MODELS)
    # Assumed for a class that is not registered, or a placeholder for a package that is not installed.
    return cls is None or not issubclass(cls, nn.Module) or 'neck' in _parameters(cls)


def _parameters(cls: type) -> set[str]:
    """Return the names of the constructor's parameters, including those of its base classes."""
    constructors = (vars(ancestor).get('__init__') for ancestor in cls.__mro__)
    return {name for constructor in constructors if constructor for name in inspect.signature(constructor).parameters}


def innermost_datasets(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the configs of the data sets inside wrappers such as RepeatDataset and ConcatDataset.

    Raises:
        InputError: If a data set is not a dict, or a wrapper has none.
    """
    if not isinstance(dataset, dict):
        raise InputError(f'a data set of the config must be a dict, but is {dataset!r}')
    if 'datasets' in dataset:
        if not dataset['datasets']:
            raise InputError(f'{type_name(dataset)} of the config has no data sets')
        for inner in dataset['datasets']:
            yield from innermost_datasets(inner)
    elif 'dataset' in dataset:
        yield from innermost_datasets(dataset['dataset'])
    else:
        yield dataset


def is_coco(dataset: dict[str, Any]) -> bool:
    """Return whether a data set's annotations are in COCO's instance format."""
    cls = type_class(dataset, DATASETS)
    return (
        cls is not None
        and issubclass(cls, CocoDataset)
        and not issubclass(cls, CocoPanopticDataset | LVISV05Dataset)  # subclasses with another format
    )


def evaluators(cfg: Config, part: str) -> list[dict[str, Any]]:
    """Return the evaluators of val or test."""
    evaluator = cfg.get(f'{part}_evaluator') or []
    return list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]


def check_has(cfg: Config, *settings: str) -> None:
    """Check that a config has the required settings.

    Raises:
        InputError: If one is missing.
    """
    missing = [name for name in settings if not cfg.get(name)]
    if missing:
        raise InputError(f'{cfg.filename or "the config"} has no {", ".join(missing)}')


def use_data_root(cfg: Config, data_root: str | None, required: Sequence[str]) -> None:
    """Redirect every data loader and evaluator to a folder in COCO layout, in place.

    Without ``data_root`` the paths of the config are kept if the files exist;
    otherwise its ``data_root`` is searched for the other layouts known to
    :func:`~fnoise_mmdet.datasets.find_split`.

    Annotation files of other names that the folder has are kept, such as those
    of a part of the images; data sets that are concatenated must have theirs.

    If the data set lacks a class of the config, the config gets the classes of
    the data set, including the number of classes of the heads.

    Args:
        cfg: Config to change.
        data_root: Folder of the data set, or None.
        required: Splits that must exist. The loader of another split that does not is kept.

    Raises:
        InputError: If the folder, a required split or an annotation file is
            not found, a loader reads another format, or a head cannot be set
            to the classes.
    """
    if data_root is None:
        loaders = [cfg[f'{part}_dataloader'] for part in required if cfg.get(f'{part}_dataloader')]
        of_loaders = [list(innermost_datasets(loader.dataset)) for loader in loaders]
        missing = [
            annotation_file(dataset)
            for datasets in of_loaders
            for dataset in datasets
            if is_local(dataset) and not annotation_file(dataset).is_file()
        ]
        if 'data_root' not in cfg or not missing:
            return
        if any(len(datasets) > 1 for datasets in of_loaders):
            raise InputError(
                f'annotation file {missing[0]} not found: set its path in the config, or create it '
                f'({command_for("split_coco")} divides a data set into labelled and unlabelled images)'
            )
        data_root = cfg.data_root
    root = Path(data_root)
    if not root.is_dir():
        raise InputError(
            f'data root {root} is not a folder: create it with {command_for("coco_sample")} (a sample of COCO) or '
            f'{command_for("make_shapes")} (the embedded data set), or pass another one with --data-root'
        )
    cfg.data_root = str(root)
    check_has(cfg, f'{required[0]}_dataloader')
    wanted = config_classes(next(innermost_datasets(cfg[f'{required[0]}_dataloader'].dataset)))
    classes: tuple[str, ...] = ()
    absent = []
    for part in ('train', 'val', 'test'):
        if not cfg.get(f'{part}_dataloader'):
            continue
        try:
            split = find_split(root, part)
        except InputError as error:
            if part in required:
                absent.append(str(error))
            continue
        datasets = list(innermost_datasets(cfg[f'{part}_dataloader'].dataset))
        for dataset in datasets:
            if not is_coco(dataset):
                raise InputError(
                    f"{part}_dataloader has {type_name(dataset)}, which does not read COCO's instance format, and only "
                    'data sets in this format can be redirected by --data-root: use CocoDataset in the config'
                )
            dataset.update(data_root=str(root), data_prefix=dict(img=split.image_folder))
            # Several data sets are parts of one, such as its labelled and unlabelled images.
            if len(datasets) == 1:
                if not _is_part(dataset):
                    dataset['ann_file'] = split.ann_file
            elif not annotation_file(dataset).is_file():
                raise InputError(
                    f'{annotation_file(dataset)} of {part}_dataloader not found: create it '
                    f'({command_for("split_coco")} divides a data set into labelled and unlabelled images)'
                )
        for evaluator in evaluators(cfg, part):
            if 'ann_file' in evaluator:
                evaluator['ann_file'] = str(annotation_file(datasets[0]))
        if part == required[0]:
            classes = class_names(read_coco(annotation_file(datasets[0]), annotated=False))
    if absent:
        raise InputError('; '.join(absent))
    # mmdet numbers labels in the order of the annotation file; check_data checks that it is the same for all splits.
    if wanted != tuple(name for name in classes if name in wanted):
        use_classes(cfg, classes)


def _is_part(dataset: dict[str, Any]) -> bool:
    """Return whether a data set has an annotation file of its own in its folder, beside those of the whole splits."""
    name = dataset.get('ann_file') or ''
    is_split = re.fullmatch(r'annotations/instances_(train|val|test)(2017)?\.json', name)
    return not is_split and not Path(name).is_absolute() and annotation_file(dataset).is_file()


def annotation_file(dataset: dict[str, Any]) -> Path:
    """Return the path of the annotation file of a data set."""
    return Path(dataset.get('data_root') or '') / (dataset.get('ann_file') or '')


def is_local(settings: dict[str, Any], *paths: str) -> bool:
    """Return whether files are read from a local disk, rather than by another file backend of mmengine.

    Args:
        settings: Config of a data set, transform or evaluator.
        *paths: Additional paths.
    """
    backend = (settings.get('backend_args') or settings.get('file_client_args') or {}).get('backend', 'local')
    paths = (*paths, *(str(settings.get(name) or '') for name in ('data_root', 'ann_file')))
    return backend in ('local', 'disk') and not any('://' in path for path in paths)


def config_classes(dataset: dict[str, Any]) -> tuple[str, ...]:
    """Return the class names of a data set's config, read from a file if it names one, as mmengine does.

    Raises:
        InputError: If the file cannot be read.
    """
    names = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(names, str):
        try:
            names = list_from_file(names)
        except (OSError, ValueError) as error:
            raise InputError(
                f'metainfo.classes={names!r} is taken for a text file with one class per line, which cannot be read '
                f'({error}); a single class is written as a tuple: classes=({names!r},)'
            ) from None
    return tuple(names or getattr(type_class(dataset, DATASETS), 'METAINFO', {}).get('classes') or ())


def use_classes(cfg: Config, names: Sequence[str]) -> None:
    """Set the classes of data sets and heads, in place.

    Raises:
        InputError: If a head cannot be set to them.
    """
    datasets = [
        dataset
        for part in ('train', 'val', 'test')
        if cfg.get(f'{part}_dataloader')
        for dataset in innermost_datasets(cfg[f'{part}_dataloader'].dataset)
    ]
    before = [config_classes(dataset) for dataset in datasets]
    if all(one == tuple(names) for one in before):
        return
    set_classes(cfg.model, before[0] if before else (), names)
    first = printable(', '.join(names[:5]))
    print(f"classes: {len(names)} ({first}{', ...' if len(names) > 5 else ''}) instead of the config's")
    for dataset in datasets:
        dataset['metainfo'] = dict(classes=tuple(names))


def nested_dicts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict of a nested config."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            yield from nested_dicts(child)


def pretrained_checkpoints(cfg: Config) -> list[str]:
    """Return the checkpoints that are loaded when the model is built or initialized."""
    nodes = list(nested_dicts(cfg.model))
    return [
        *(node['checkpoint'] for node in nodes if type_name(node).startswith('Pretrained')),
        *(node[name] for node in nodes for name in PRETRAINED if isinstance(node.get(name), str)),
    ]


def remove_pretrained(cfg: Config) -> None:
    """Replace pretrained weights of a model by random initialization, in place."""
    for module in nested_dicts(cfg.model):
        kept = [one for one in _init_cfgs(module) if 'checkpoint' not in one]
        if len(kept) < len(_init_cfgs(module)):
            module['init_cfg'] = kept or None
        module.update({name: None for name in PRETRAINED if isinstance(module.get(name), str)})


def _init_cfgs(module: dict[str, Any]) -> list[dict[str, Any]]:
    init_cfg = module.get('init_cfg') or []
    return [init_cfg] if isinstance(init_cfg, dict) else list(init_cfg)


def train_from_scratch(cfg: Config) -> None:
    """Configure the backbone for training from random weights, in place.

    No checkpoint is downloaded, no stage is frozen, and batch norm is trained,
    because frozen random stages and uninitialized statistics would break the
    training. The detector is the same as in :func:`add_fnoise`.

    Raises:
        InputError: If the model has no backbone.
    """
    check_has(cfg, 'model')
    place, detector = find_detector(cfg)
    backbone = detector.get('backbone') or {}
    if type_name(backbone) == 'FNoiseNeck':  # wraps the backbone of a detector that takes no neck
        backbone = backbone['neck']
    if not type_name(backbone):
        raise InputError(f'--from-scratch needs a model with a backbone, but {place} ({type_name(detector)}) has none')
    remove_pretrained(cfg)
    settings = dict(init_cfg=None, frozen_stages=-1, norm_eval=False)
    cls = type_class(backbone, MODELS)
    known = _parameters(cls) if cls else set()
    backbone.update({name: value for name, value in settings.items() if name in known})
    if backbone.get('norm_cfg'):
        backbone['norm_cfg']['requires_grad'] = True
    cfg.load_from = None

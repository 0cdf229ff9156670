"""Checks of config, data, checkpoints and work dir before a run."""

import copy
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.datasets.samplers import MultiSourceSampler
from mmdet.evaluation import CocoMetric, LVISMetric
from mmdet.registry import DATA_SAMPLERS, HOOKS, LOOPS, METRICS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, Registry, init_default_scope
from mmengine.runner import EpochBasedTrainLoop
from mmengine.utils import digit_version
from torch import nn

from ..config import (
    annotation_file,
    config_classes,
    evaluators,
    innermost_datasets,
    is_coco,
    is_local,
    nested_dicts,
    pretrained_checkpoints,
)
from ..config.heads import head_findings
from ..config.types import type_class, type_name
from ..datasets import Use, annotation_findings, check_images, count_objects, is_inside, read_coco
from ..datasets.files import check_writable, existing_parent
from ..datasets.images import check_image_files, printable
from ..datasets.labels import kept_images, label_fault
from ..errors import InputError
from ..models.layers import find_noise_layers
from .checkpoint import check_part, check_resumable, load_checkpoint, load_weights, trained_classes
from .distributed import is_main_process, world_size
from .hooks import NoiseScheduleHook
from .mixed_precision import computes_in_bfloat16
from .resume import find_checkpoints, latest_checkpoint

SEVERAL = 'several problems were found'
# Share of a module that pretrained weights must fill: mmdet's variants of a ResNet with further weights have 0.6 to 1.
PRETRAINED_SHARE = 0.5
LR_FACTOR = 4  # ratio from which a learning rate is assumed to belong to another batch size
ENDLESS = (InfiniteSampler, MultiSourceSampler)  # infinite samplers of mmengine and mmdet


def check_data(cfg: Config, parts: Sequence[str]) -> None:
    """Check annotations, images and classes of the given splits of a config.

    For data sets in other formats than COCO's, only the existence of the
    annotation file is checked.

    Raises:
        InputError: If an annotation file is not found or not in COCO format,
            an image is missing, no image is left after mmdet's filters, or
            labels do not match the classes.
    """
    checks: list[Callable[[], None]] = [partial(_check_encoding, cfg), partial(_check_parts_agree, cfg, parts)]
    for part in parts:
        if not cfg.get(f'{part}_dataloader'):
            continue
        objects: list[int] = []  # of each valid data set of the split
        datasets = list(innermost_datasets(cfg[f'{part}_dataloader'].dataset))
        for dataset in datasets:
            use, unannotated = _use_of(cfg, part, dataset), _is_unannotated(cfg, part, dataset)
            checks.append(partial(_check_dataset, dataset, part, use, objects, unannotated))
        for evaluator in evaluators(cfg, part):
            checks.append(partial(_check_evaluator, evaluator, part, datasets))
        checks.append(partial(_check_annotated, cfg, part, objects))
    check_all(checks)


def check_all(checks: Iterable[Callable[[], object]]) -> None:
    """Run checks, and report all findings at once.

    A check that fails in another way has found a setting of a type that no
    check expects.

    Raises:
        InputError: If a check fails.
    """
    found: list[str] = []
    for check in checks:
        try:
            check()
        except InputError as error:
            # A check may itself report several findings.
            found += [line.removeprefix('- ') for line in str(error).splitlines() if line != SEVERAL]
        except (OSError, MemoryError):
            raise
        except Exception as error:
            found.append(f'the config cannot be checked: {type(error).__name__}: {error}')
    found = list(dict.fromkeys(found))
    if found:
        raise InputError(found[0] if len(found) == 1 else '\n- '.join([SEVERAL, *found]))


def _check_encoding(cfg: Config) -> None:
    """Check that the config can be saved, as every run does."""
    for value in (one for node in nested_dicts(cfg.to_dict()) for one in node.values() if isinstance(one, str)):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(
                f'{printable(value)} in the config is not UTF-8, so it cannot be saved: rename the file or folder'
            ) from None


def _same_file(evaluator: dict[str, Any], dataset: dict[str, Any]) -> bool:
    """Return whether an evaluator uses the annotations of the data set, having no file of its own."""
    named = evaluator.get('ann_file')
    return named is None or Path(named).resolve() == annotation_file(dataset).resolve()


def _coco_metrics(evaluator: dict[str, Any]) -> list[str]:
    """Return the types of COCO's evaluation of an evaluator, ``bbox`` and ``segm``."""
    if not _is_coco_metric(evaluator) or evaluator.get('format_only'):
        return []
    named = evaluator.get('metric', 'bbox')
    return [named] if isinstance(named, str) else list(named)


def _is_coco_metric(evaluator: dict[str, Any]) -> bool:
    cls = type_class(evaluator, METRICS)
    return cls is not None and issubclass(cls, CocoMetric) and not issubclass(cls, LVISMetric)


def _use_of(cfg: Config, part: str, dataset: dict[str, Any]) -> Use:
    """Return the intended use of the annotations of a data set."""
    metrics = {
        metric
        for evaluator in evaluators(cfg, part)
        if _same_file(evaluator, dataset)
        for metric in _coco_metrics(evaluator)
    }
    masks = any(
        type_name(node) == 'LoadAnnotations' and node.get('with_mask')
        for node in nested_dicts(cfg[f'{part}_dataloader'].dataset)
    )
    return Use(bool(masks), frozenset(metrics), config_classes(dataset))


def _is_unannotated(cfg: Config, part: str, dataset: dict[str, Any]) -> bool:
    """Return whether a data set needs no annotations: unlabelled images, or a test that only writes detections.

    Annotations are loaded by mmdet's Load*Annotations transforms except LoadEmptyAnnotations.
    """
    if part == 'train':
        names = {type_name(step) for step in nested_dicts(dataset.get('pipeline') or [])}
        return 'LoadEmptyAnnotations' in names and not any('LoadAnnotations' in name for name in names)
    metrics = evaluators(cfg, part)
    return bool(metrics) and all(evaluator.get('format_only') for evaluator in metrics)


def _check_parts_agree(cfg: Config, parts: Sequence[str]) -> None:
    """Check that training and validation have the same classes, and thus the same labels."""
    found = {}
    for part in parts:
        if cfg.get(f'{part}_dataloader'):
            dataset = next(innermost_datasets(cfg[f'{part}_dataloader'].dataset))
            found[part] = (config_classes(dataset), _numbers_labels(dataset))
    if len(found) < 2 or _reads_classes_as_text(cfg):
        return
    (first, (classes, is_known)), *others = found.items()
    for part, (names, is_other_known) in others:
        if is_known and is_other_known and names != classes:
            kind = 'the same classes in another order' if set(names) == set(classes) else 'other classes'
            raise InputError(
                f'{part}_dataloader has {kind} than {first}_dataloader, so that their labels differ: metainfo.classes '
                f'is {_some(names)}, and {_some(classes)} in {first}_dataloader'
            )


def _numbers_labels(dataset: dict[str, Any]) -> bool:
    """Return whether a data set numbers its labels as mmdet's CocoDataset does."""
    return is_coco(dataset) and getattr(type_class(dataset), 'load_data_list', None) is CocoDataset.load_data_list


def _reads_classes_as_text(cfg: Config) -> bool:
    return any('language_model' in node for node in nested_dicts(cfg.get('model') or {}))


def _some(names: Sequence[str]) -> str:
    return f'({", ".join(names[:10])}{", ..." if len(names) > 10 else ""})'


def _reads_image_files(dataset: dict[str, Any]) -> bool:
    """Return whether images are local files read by mmdet's LoadImageFromFile, so that they can be checked."""
    step: dict[str, Any] = next(iter(dataset.get('pipeline') or []), {})
    return (
        type_class(step, TRANSFORMS) is LoadImageFromFile
        and step.get('imdecode_backend') != 'tifffile'
        and is_local(step, str(dataset.get('data_root') or ''), *map(str, (dataset.get('data_prefix') or {}).values()))
    )


def _check_left(dataset: dict[str, Any], coco: dict[str, Any], ann_file: Path, classes: Sequence[str]) -> None:
    """Check that an image is left after mmdet's filters."""
    filters = {} if dataset.get('test_mode') else dataset.get('filter_cfg') or {}
    cls: Any = type_class(dataset)
    if cls.filter_data is not CocoDataset.filter_data or not coco['images']:  # no images are reported elsewhere
        return
    kept, small, empty = kept_images(coco, classes, filters)
    if not kept:
        why = [
            f'{small} are below filter_cfg.min_size={filters.get("min_size")} pixels' if small else '',
            f"{empty} have no object of the config's classes, and filter_cfg.filter_empty_gt is set" if empty else '',
        ]
        raise InputError(
            f'{ann_file}: mmdet filters all {len(coco["images"])} images, and the data set is empty: '
            f'{"; ".join(filter(None, why))}'
        )
    indices = dataset.get('indices')
    if indices is not None and not (abs(indices) if isinstance(indices, int) else len(indices)):
        raise InputError(f'{ann_file}: the data set is empty, because its indices are {indices!r}')


def _check_dataset(dataset: dict[str, Any], part: str, use: Use, objects: list[int], unannotated: bool) -> None:
    ann_file = annotation_file(dataset)
    if not is_local(dataset):
        print(
            f'warning: {dataset.get("ann_file")} of {part}_dataloader is not checked, because it is not on a local disk'
        )
        return
    if not is_coco(dataset):
        if not ann_file.exists():
            raise InputError(f'annotation file {ann_file} of {part}_dataloader not found')
        return
    coco = read_coco(ann_file, annotated=not unannotated)
    classes = config_classes(dataset)
    errors = _annotation_errors(coco, ann_file, use)
    checks: list[Callable[[], object]] = []
    if not errors:
        if not unannotated:
            objects.append(count_objects(coco, use.classes))
        checks.append(partial(_check_left, dataset, coco, ann_file, classes))
    if _numbers_labels(dataset) and not (unannotated and part == 'train'):
        fault = label_fault(coco, classes, complete=bool(use.metrics) or unannotated)
        errors += [fault] if fault else []
    folder = Path(dataset.get('data_root') or '') / (dataset.get('data_prefix') or {}).get('img', '')
    if _reads_image_files(dataset):
        images = [one for one in coco['images'] if is_inside(one['file_name'])]
        checks += [partial(check_images, coco, folder), partial(check_image_files, images, folder)]
    check_all([*(partial(_refuse, f'{ann_file}: {error}') for error in errors), *checks])


def _annotation_errors(coco: dict[str, Any], ann_file: Path, use: Use) -> list[str]:
    errors, oddities = annotation_findings(coco, use)
    for oddity in oddities:
        print(f'warning: {ann_file}: {oddity}')
    return errors


def _check_annotated(cfg: Config, part: str, objects: list[int]) -> None:
    """Check that there are objects to train on, and that no hook monitors an undefined AP."""
    if not objects or any(objects):
        return
    if part == 'train':
        raise InputError("no training objects: no object of the config's classes is annotated in the training data")
    print(
        f"warning: no object of the config's classes is annotated in the {part} data: AP is undefined and not reported"
    )
    for place, metric in _monitored(cfg) if part == 'val' else ():
        if metric == 'auto' or metric.startswith('coco/'):
            raise InputError(f'{place} is {metric}, but AP is undefined: nothing is annotated in the val data')


def _monitored(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield the settings that monitor a validation metric, and the name of the metric."""
    saved = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best') or []
    for metric in [saved] if isinstance(saved, str) else saved:
        yield 'save_best', metric
    for node in nested_dicts([cfg.get('custom_hooks') or [], cfg.get('param_scheduler') or []]):
        if isinstance(node.get('monitor'), str):
            yield f'monitor of {type_name(node)}', node['monitor']


def _refuse(message: str) -> None:
    raise InputError(message)


def check_heads(cfg: Config) -> None:
    """Check that the heads fit the classes of the training data.

    Raises:
        InputError: If a head has too few classes, or another number of class weights.
    """
    if _reads_classes_as_text(cfg):
        return
    classes = max(map(config_classes, innermost_datasets(cfg.train_dataloader.dataset)), key=len)
    check_all(partial(_refuse, finding) for finding in head_findings(cfg.model, classes))


def _check_evaluator(evaluator: dict[str, Any], part: str, datasets: Sequence[dict[str, Any]]) -> None:
    """Check the outputs of an evaluator, and annotation files other than those of the data sets."""
    only_writes = evaluator.get('format_only')
    if only_writes and not evaluator.get('outfile_prefix'):
        raise InputError(f'{part}_evaluator has format_only, but no outfile_prefix for its output files')
    named = evaluator.get('ann_file')
    if not named or not is_local(evaluator) or any(_same_file(evaluator, dataset) for dataset in datasets):
        return
    ann_file = Path(named)
    if not ann_file.is_file():
        raise InputError(f'annotation file {ann_file} of {part}_evaluator not found')
    if not _is_coco_metric(evaluator):
        return
    classes = config_classes(datasets[0])
    coco = read_coco(ann_file, annotated=not only_writes)
    metrics = _coco_metrics(evaluator)
    errors = _annotation_errors(coco, ann_file, Use(False, metrics, classes)) if metrics else []
    fault = label_fault(coco, classes, complete=True)
    check_all(partial(_refuse, f'{ann_file}: {error}') for error in [*errors, *([fault] if fault else [])])


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


def check_settings(cfg: Config) -> None:
    """Check the types of settings that other checks rely on, the lengths, and the seed.

    Raises:
        InputError: If one is of another type or out of range.
    """
    for name in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not isinstance(cfg.get(name), dict):
            raise InputError(f'{name} must be a dict, but is {cfg.get(name)!r}')
    check_all(
        partial(_check_at_least_one, f'{part}.{key}', (cfg.get(part) or {}).get(key))
        for part, keys in dict(
            train_cfg=('max_epochs', 'max_iters', 'val_interval'),
            train_dataloader=('batch_size',),
            val_dataloader=('batch_size',),
        ).items()
        for key in keys
    )
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and not (type(seed) is int and 0 <= seed < 2**32):
        raise InputError(f'randomness.seed must be an integer from 0 to 2**32 - 1, but is {seed!r}')
    parts = ('val_dataloader', 'val_cfg', 'val_evaluator')
    missing = [name for name in parts if cfg.get(name) is None]
    if 0 < len(missing) < len(parts):
        raise InputError(f'{" and ".join(missing)} is missing: set all of {", ".join(parts)}, or none')


def _check_at_least_one(place: str, value: Any) -> None:
    if value is not None and type(value) is not int:
        raise InputError(f'{place} must be an integer, but is {value!r}')
    if value is not None and value < 1:
        raise InputError(f'{place} must be >= 1, but is {value}')


def check_loops(cfg: Config) -> None:
    """Check that training epochs and validations are finite.

    Raises:
        InputError: If an infinite sampler feeds an epoch-based loop, or the validation interval is not positive.
    """
    loops = {
        'train': 'a training epoch' if _counts_epochs(cfg) else None,  # the other loop counts iterations
        'val': 'the validation' if type_name(cfg.get('val_cfg')) in ('', 'ValLoop', 'TeacherStudentValLoop') else None,
    }
    for part, what in loops.items():
        loader = cfg.get(f'{part}_dataloader') or {}
        for key in ('sampler', 'batch_sampler'):
            cls = type_class(loader.get(key), DATA_SAMPLERS)
            if what and cls is not None and issubclass(cls, ENDLESS):
                raise InputError(
                    f'{what} would never end: {part}_dataloader.{key} is {cls.__name__}, which is infinite. '
                    'Set it to DefaultSampler'
                    + (', or train_cfg to IterBasedTrainLoop with max_iters' if part == 'train' else '')
                )
    _check_at_least_one('train_cfg.val_interval', cfg.train_cfg.get('val_interval'))


def _counts_epochs(cfg: Config) -> bool:
    kind = type_class(cfg.train_cfg, LOOPS)
    return issubclass(kind, EpochBasedTrainLoop) if kind else bool(cfg.train_cfg.get('by_epoch', False))


def warn_of_no_validation(cfg: Config) -> None:
    """Warn where a training never validates."""
    if not cfg.get('val_dataloader'):
        print('warning: the training never validates: the config has no val_dataloader')
        return
    length = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('max_iters')
    begin = cfg.train_cfg.get('val_begin', 1)
    if length and begin > length:  # the last epoch or iteration is always validated
        unit = 'epochs' if cfg.train_cfg.get('max_epochs') else 'iterations'
        print(
            f'warning: the training never validates: it ends after {length} {unit}, before train_cfg.val_begin={begin}'
        )


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


def check_device(cfg: Config) -> None:
    """Check that mixed precision is supported.

    Raises:
        InputError: If it needs a GPU or bfloat16 arithmetic, which are not available.
    """
    kind = type_name(cfg.optim_wrapper)
    if kind == 'AmpOptimWrapper' and not torch.cuda.is_available():
        raise InputError(
            'mixed precision by AmpOptimWrapper needs a GPU, and torch finds none: use --cfg-options '
            'optim_wrapper.type=OptimWrapper, or --amp for mixed precision on this CPU'
        )
    if kind == 'CPUAmpOptimWrapper' and not computes_in_bfloat16():
        raise InputError(
            'mixed precision needs a GPU, or a CPU with bfloat16 arithmetic (avx512_bf16, amx_bf16 or bf16 '
            'among its flags in /proc/cpuinfo), and this machine has neither: omit --amp'
        )


def check_device_option(device: str | None) -> None:
    """Check that torch can use the device of ``--device``, None for its default.

    Raises:
        InputError: If it is unknown or not available.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # unknown device, no driver, or a build without CUDA
        raise InputError(f'--device {device} cannot be used: {error}') from error


def check_work_dir(cfg: Config) -> None:
    """Check that the work dir is writable and does not hold another training, and that resuming is supported.

    Raises:
        InputError: If the work dir is a file or not writable, holds
            checkpoints without the config resuming, or the installed versions
            cannot resume.
    """
    work_dir = Path(cfg.work_dir)
    if work_dir.is_file():
        raise InputError(f'work dir {work_dir} is a file: use a folder with --work-dir')
    try:
        check_writable(work_dir)
    except InputError as error:
        raise InputError(f'work dir {error} (--work-dir)') from None
    if not cfg.get('resume'):
        if latest_checkpoint(work_dir)[0]:
            raise InputError(
                f'work dir {work_dir} already holds the checkpoints of a run: continue it with --resume, '
                'or use another one with --work-dir'
            )
        return
    if digit_version(torch.__version__) >= digit_version('2.6') and digit_version(mmengine.__version__) < digit_version(
        '0.10.8'
    ):
        raise InputError(
            f'mmengine {mmengine.__version__} cannot resume with torch {torch.__version__}: '
            'install torch < 2.6, or the maintained distribution of requirements.txt'
        )


def checkpoint_bytes(cfg: Config, model: nn.Module) -> int:
    """Return the size of a checkpoint: weights, buffers, and optimizer state."""
    states = 2 if 'Adam' in type_name(cfg.optim_wrapper.get('optimizer')) else 1  # per parameter
    trained = sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    return sum(one.numel() * one.element_size() for one in model.state_dict().values()) + states * trained


def kept_checkpoints(cfg: Config) -> int:
    """Return the number of checkpoints that a training keeps, 0 if it saves none."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if not isinstance(hook, dict):
        return 0
    length = cfg.train_cfg.get('max_epochs' if hook.get('by_epoch', True) else 'max_iters') or 1
    saved = max(1, length // max(1, hook.get('interval', 1)))
    most = hook.get('max_keep_ckpts', -1)
    return min(saved, most) if most >= 1 else saved


def check_room(cfg: Config, model: nn.Module) -> None:
    """Check that the disk of the work dir has space for the checkpoints, one more than are kept.

    Raises:
        InputError: If it has not.
    """
    kept = kept_checkpoints(cfg)
    if not kept:
        return
    size = checkpoint_bytes(cfg, model)
    there = len(find_checkpoints(Path(cfg.work_dir)))  # of a resumed training
    missing = kept + 1 - min(kept, there)
    free = shutil.disk_usage(existing_parent(Path(cfg.work_dir))).free
    if free < size * missing:
        raise InputError(
            f'the disk of work dir {cfg.work_dir} has {free / 2**20:.0f} MiB left, but {missing} checkpoints need '
            f'{size * missing / 2**20:.0f} MiB: free some, use another --work-dir, or keep fewer with '
            '--cfg-options default_hooks.checkpoint.max_keep_ckpts=1'
        )


def warn_of_learning_rate(cfg: Config) -> None:
    """Warn if the learning rate is meant for another batch size (linear scaling rule)."""
    scaling = cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    accumulated = cfg.optim_wrapper.get('accumulative_counts') or 1
    batch = (cfg.train_dataloader.get('batch_size') or 0) * world_size(cfg.get('launcher', 'none')) * accumulated
    rate = cfg.optim_wrapper.get('optimizer', {}).get('lr')
    if not base or not batch or not rate or scaling.get('enable'):
        return
    if batch / base >= LR_FACTOR or base / batch >= LR_FACTOR:
        print(
            f'warning: learning rate {rate:g} is meant for a batch size of {base}, but it is {batch}: scale it '
            f'with --auto-scale-lr, or --cfg-options optim_wrapper.optimizer.lr={rate * batch / base:g}'
        )


def check_training(cfg: Config, with_data: bool = True) -> None:
    """Run all checks of a training, and report all findings at once.

    Args:
        cfg: The config.
        with_data: Whether to check annotations and images; not needed again for configs with the same data.

    Raises:
        InputError: If a check fails; nothing has been written.
    """
    check_settings(cfg)
    check_all(
        [
            partial(check_device, cfg),
            partial(check_work_dir, cfg),
            *([partial(check_data, cfg, ['train', 'val'])] if with_data else []),
            partial(check_loops, cfg),
            partial(check_heads, cfg),
            partial(_check_built, cfg),
        ]
    )
    warn_of_learning_rate(cfg)
    warn_of_no_validation(cfg)


def _check_built(cfg: Config) -> None:
    model = check_model(cfg)
    check_all(
        [
            partial(check_hooks, cfg, model),
            *(partial(_check_buildable, place, build) for place, build in _builders(cfg, model)),
            partial(check_room, cfg, model),
            partial(check_start_weights, cfg, model),
        ]
    )


def _check_buildable(place: str, build: Callable[[], object]) -> None:
    try:
        build()
    except Exception as error:  # every module raises other types
        raise InputError(f'{place} cannot be used: {type(error).__name__}: {error}') from error


def _builders(cfg: Config, model: nn.Module) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield settings of a training by place, and how to build each without reading data or writing files."""
    yield 'optim_wrapper', partial(_build_optimizer, cfg, model)
    for name, hook in (cfg.get('default_hooks') or {}).items():
        if name != 'visualization' and hook is not None:  # which would create a visualizer without a folder
            yield f'default_hooks.{name}', partial(HOOKS.build, copy.deepcopy(hook))
    for part in ('train', 'val'):
        loader = cfg.get(f'{part}_dataloader') or {}
        for key in ('sampler', 'batch_sampler'):
            if loader.get(key):
                yield f'{part}_dataloader.{key}', partial(_check_registered, loader[key], DATA_SAMPLERS)
        for node in nested_dicts(loader.get('dataset')):
            for index, step in enumerate(node.get('pipeline') or ()):
                place = f'{part}_dataloader.dataset, step {index} of the pipeline'
                yield place, partial(TRANSFORMS.build, copy.deepcopy(step))
    for evaluator in evaluators(cfg, 'val'):
        yield 'val_evaluator', partial(_check_registered, evaluator, METRICS)
        if _is_coco_metric(evaluator):  # others may create folders
            yield 'val_evaluator', partial(METRICS.build, {**evaluator, 'ann_file': None})


def _check_registered(settings: dict[str, Any], registry: Registry) -> None:
    if type_class(settings, registry) is None:
        raise KeyError(f'{type_name(settings)} is not in the registry of {registry.name}s')


def _build_optimizer(cfg: Config, model: nn.Module) -> None:
    """Build the optimizer and, if it is one, its schedulers."""
    if 'optimizer' not in cfg.optim_wrapper and 'constructor' not in cfg.optim_wrapper:
        raise KeyError('it has no optimizer')
    logging.disable(logging.INFO)  # one line per parameter, again in the training
    try:
        wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    finally:
        logging.disable(logging.NOTSET)
    schedulers: Any = cfg.get('param_scheduler') or []
    schedulers = [schedulers] if 'type' in schedulers else schedulers
    for scheduler in schedulers if isinstance(schedulers, list) else []:  # else a dict of several optimizers
        settings = {name: value for name, value in scheduler.items() if name != 'convert_to_iter_based'}
        try:
            PARAM_SCHEDULERS.build(settings, default_args=dict(optimizer=wrapper))
        except Exception as error:
            raise InputError(f'param_scheduler {type_name(scheduler)}: {type(error).__name__}: {error}') from error


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
                f'{_some(trained)}, but the data has {_some(classes)}'
            )
        raise InputError(
            f'checkpoint {path} was trained on {len(trained)} classes ({", ".join(trained[:5])}...), '
            f'but the data has {len(classes)} ({", ".join(classes[:5])}...)'
        )
    if model is not None:
        load_weights(model, checkpoint, path)
    return meta


def describe_training(cfg: Config) -> str:
    """Describe a training, one setting per line. The config must have passed :func:`check_training`."""
    model = check_model(cfg)
    layers = find_noise_layers(model)
    batch = cfg.train_dataloader.get('batch_size')
    described = {
        'config': cfg.filename,
        'model': f'{type(model).__name__}, {sum(parameter.numel() for parameter in model.parameters()):,} parameters',
        # Student and teacher have the same.
        'F-Noise': '; '.join(
            dict.fromkeys(f'{one.noise} on levels {one.levels or "all"}, {one.place}' for one in layers)
        )
        or 'none',
    }
    for part in ('train', 'val'):
        if cfg.get(f'{part}_dataloader'):
            described[part] = '; '.join(map(_describe_dataset, innermost_datasets(cfg[f'{part}_dataloader'].dataset)))
    described |= {
        'batch size': batch,
        'length': ', '.join(f'{key} {value}' for key, value in cfg.train_cfg.items() if key.startswith('max_')),
        'optimizer': f'{type_name(cfg.optim_wrapper.optimizer)}, learning rate {cfg.optim_wrapper.optimizer.get("lr")}',
        'seed': (cfg.get('randomness') or {}).get('seed'),
        'initial weights': cfg.load_from or ', '.join(pretrained_checkpoints(cfg)) or 'random weights',
        'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
        'work dir': cfg.work_dir,
    }
    width = max(map(len, described))
    return '\n'.join(f'{name:{width}}  {value}' for name, value in described.items())


def _describe_dataset(dataset: dict[str, Any]) -> str:
    ann_file = annotation_file(dataset)
    if not is_local(dataset) or not is_coco(dataset):
        return str(dataset.get('ann_file') or ann_file)
    coco = read_coco(ann_file, annotated=False)
    return (
        f'{ann_file}, {len(coco["images"])} images, {len(coco["annotations"])} objects, '
        f'{len(coco["categories"])} categories'
    )

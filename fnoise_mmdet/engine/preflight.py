"""Checks of a config before anything is built or written."""

import copy
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
from mmengine.registry import init_default_scope
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
from ..datasets.files import check_writable
from ..datasets.images import check_image_files, printable
from ..datasets.labels import kept_images, label_fault
from ..errors import InputError
from ..models.necks import find_fnoise_necks
from .checkpoint import check_part, check_resumable, load_checkpoint, load_weights
from .distributed import is_main_process, world_size
from .hooks import NoiseScheduleHook
from .mixed_precision import computes_in_bfloat16
from .resume import find_checkpoints, latest_checkpoint

SEVERAL = 'several things are wrong'
LR_FACTOR = 4  # from which on a learning rate is taken for one of another batch size
ENDLESS = (InfiniteSampler, MultiSourceSampler)  # the samplers of mmengine and mmdet that never end


def check_data(cfg: Config, parts: Sequence[str]) -> None:
    """Check annotations, images and classes of the given parts, where the config has them.

    Of data sets in another format than COCO's it is checked that their
    annotation file is there.

    Raises:
        InputError: An annotation file is not there or not in COCO format, an
            image is not on disk, no image is left after mmdet's filters, or
            the labels of a file would be those of other classes.
    """
    checks: list[Callable[[], None]] = [partial(_check_encoding, cfg), partial(_check_parts_agree, cfg, parts)]
    for part in parts:
        if not cfg.get(f'{part}_dataloader'):
            continue
        objects: list[int] = []  # of each data set of the part that was found without errors
        datasets = list(innermost_datasets(cfg[f'{part}_dataloader'].dataset))
        for dataset in datasets:
            use, unannotated = _use_of(cfg, part, dataset), _is_unannotated(cfg, part, dataset)
            checks.append(partial(_check_dataset, dataset, part, use, objects, unannotated))
        for evaluator in evaluators(cfg, part):
            checks.append(partial(_check_evaluator, evaluator, part, datasets))
        checks.append(partial(_check_annotated, cfg, part, objects))
    check_all(checks)


def check_all(checks: Iterable[Callable[[], object]]) -> None:
    """Run checks, and report what all of them have found at once.

    Raises:
        InputError: One of them has found something.
    """
    found: list[str] = []
    for check in checks:
        try:
            check()
        except InputError as error:
            # A check may have run several itself.
            found += [line.removeprefix('- ') for line in str(error).splitlines() if line != SEVERAL]
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
                f'{printable(value)} in the config is not UTF-8, as which a run saves it: rename the file or folder'
            ) from None


def _same_file(evaluator: dict[str, Any], dataset: dict[str, Any]) -> bool:
    """Return whether an evaluator reads the annotations of a data set; without a file of its own it does."""
    named = evaluator.get('ann_file')
    return named is None or Path(named).resolve() == annotation_file(dataset).resolve()


def _coco_metrics(evaluator: dict[str, Any]) -> list[str]:
    """Return what an evaluator has COCO's evaluation made of, ``bbox`` and ``segm``."""
    if not _is_coco_metric(evaluator) or evaluator.get('format_only'):
        return []
    named = evaluator.get('metric', 'bbox')
    return [named] if isinstance(named, str) else list(named)


def _is_coco_metric(evaluator: dict[str, Any]) -> bool:
    cls = type_class(evaluator, METRICS)
    return cls is not None and issubclass(cls, CocoMetric) and not issubclass(cls, LVISMetric)


def _use_of(cfg: Config, part: str, dataset: dict[str, Any]) -> Use:
    """Return what the annotations of a data set are read for."""
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
    """Return whether a data set needs no annotations: unlabelled images, or images whose detections are only written.

    Annotations are loaded by mmdet's transforms whose names say so, all but LoadEmptyAnnotations.
    """
    if part == 'train':
        names = {type_name(step) for step in nested_dicts(dataset.get('pipeline') or [])}
        return 'LoadEmptyAnnotations' in names and not any('LoadAnnotations' in name for name in names)
    metrics = evaluators(cfg, part)
    return bool(metrics) and all(evaluator.get('format_only') for evaluator in metrics)


def _check_parts_agree(cfg: Config, parts: Sequence[str]) -> None:
    """Check that training and validation have the same classes, without which their labels differ."""
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
            how = 'the same classes in another order' if set(names) == set(classes) else 'other classes'
            raise InputError(
                f'{part}_dataloader has {how} than {first}_dataloader, so that their labels differ: metainfo.classes '
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
    """Return whether images are local files that mmdet's own LoadImageFromFile reads, so that they can be checked."""
    step: dict[str, Any] = next(iter(dataset.get('pipeline') or []), {})
    return (
        type_class(step, TRANSFORMS) is LoadImageFromFile
        and step.get('imdecode_backend') != 'tifffile'
        and is_local(step, str(dataset.get('data_root') or ''), *map(str, (dataset.get('data_prefix') or {}).values()))
    )


def _check_left(dataset: dict[str, Any], coco: dict[str, Any], ann_file: Path, classes: Sequence[str]) -> None:
    """Check that mmdet's filters leave an image to train on."""
    filters = {} if dataset.get('test_mode') else dataset.get('filter_cfg') or {}
    cls: Any = type_class(dataset)
    if cls.filter_data is not CocoDataset.filter_data or not coco['images']:  # of which the latter is told apart
        return
    kept, small, empty = kept_images(coco, classes, filters)
    if not kept:
        why = [
            f'{small} are below filter_cfg.min_size={filters.get("min_size")} pixels' if small else '',
            f"{empty} have no object of the config's classes, and filter_cfg.filter_empty_gt is set" if empty else '',
        ]
        raise InputError(
            f'{ann_file}: mmdet leaves out all {len(coco["images"])} images, and the data set is empty: '
            f'{"; ".join(filter(None, why))}'
        )
    indices = dataset.get('indices')
    if indices is not None and not (abs(indices) if isinstance(indices, int) else len(indices)):
        raise InputError(f'{ann_file}: the data set is empty, as its indices are {indices!r}')


def _check_dataset(dataset: dict[str, Any], part: str, use: Use, objects: list[int], unannotated: bool) -> None:
    ann_file = annotation_file(dataset)
    if not is_local(dataset):
        print(f'warning: {dataset.get("ann_file")} of {part}_dataloader is read by another file back end: not checked')
        return
    if not is_coco(dataset):
        if not ann_file.exists():
            raise InputError(f'annotation file {ann_file} of {part}_dataloader is not there')
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
    """Check that there is something to learn from, and that nothing waits for an AP that is undefined."""
    if not objects or any(objects):
        return
    if part == 'train':
        raise InputError("nothing can be learned: no object of the config's classes is annotated in the training data")
    print(
        f"warning: no object of the config's classes is annotated in the {part} data: AP is undefined, and not reported"
    )
    for place, metric in _monitored(cfg) if part == 'val' else ():
        if metric == 'auto' or metric.startswith('coco/'):
            raise InputError(f'{place} is {metric}, but AP is undefined: nothing is annotated in the val data')


def _monitored(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield what waits for a metric of the validation, and the metric's name."""
    saved = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best') or []
    for metric in [saved] if isinstance(saved, str) else saved:
        yield 'save_best', metric
    for node in nested_dicts([cfg.get('custom_hooks') or [], cfg.get('param_scheduler') or []]):
        if isinstance(node.get('monitor'), str):
            yield f'monitor of {type_name(node)}', node['monitor']


def _refuse(message: str) -> None:
    raise InputError(message)


def check_heads(cfg: Config) -> None:
    """Check that the heads have room for the classes of the training data, and weigh these.

    Raises:
        InputError: A head has fewer classes, or weights of another number of them.
    """
    if _reads_classes_as_text(cfg):
        return
    classes = max(map(config_classes, innermost_datasets(cfg.train_dataloader.dataset)), key=len)
    check_all(partial(_refuse, finding) for finding in head_findings(cfg.model, classes))


def _check_evaluator(evaluator: dict[str, Any], part: str, datasets: Sequence[dict[str, Any]]) -> None:
    """Check what an evaluator writes, and the annotations that it reads beside those of the data sets."""
    only_writes = evaluator.get('format_only')
    if only_writes and not evaluator.get('outfile_prefix'):
        raise InputError(f'{part}_evaluator has format_only, but no outfile_prefix to name the files that it writes')
    named = evaluator.get('ann_file')
    if not named or not is_local(evaluator) or any(_same_file(evaluator, dataset) for dataset in datasets):
        return
    ann_file = Path(named)
    if not ann_file.is_file():
        raise InputError(f'annotation file {ann_file} of {part}_evaluator is not there')
    if not _is_coco_metric(evaluator):
        return
    classes = config_classes(datasets[0])
    coco = read_coco(ann_file, annotated=not only_writes)
    metrics = _coco_metrics(evaluator)
    errors = _annotation_errors(coco, ann_file, Use(False, metrics, classes)) if metrics else []
    fault = label_fault(coco, classes, complete=True)
    check_all(partial(_refuse, f'{ann_file}: {error}') for error in [*errors, *([fault] if fault else [])])


def check_model(cfg: Config) -> nn.Module:
    """Check the settings of the model, F-Noise's among them, by building it once.

    Returns:
        The model.

    Raises:
        InputError: A setting is unknown or out of range.
    """
    init_default_scope('mmdet')
    try:
        return MODELS.build(copy.deepcopy(cfg.model))  # mmdet's detectors add to the settings of their heads
    except Exception as error:  # every module checks its settings in its own way
        raise InputError(f'the model cannot be built: {error}') from error


def check_hooks(cfg: Config, model: nn.Module) -> None:
    """Check the settings of the config's own hooks by building each once, and that they fit the model.

    Raises:
        InputError: A hook or a setting is unknown or out of range.
    """
    for index, hook in enumerate(cfg.get('custom_hooks') or []):
        try:
            built = HOOKS.build(hook)
            if isinstance(built, NoiseScheduleHook):
                built.strengths(model)
        except Exception as error:  # every hook checks its settings in its own way
            raise InputError(f'custom_hooks[{index}] cannot be used: {error}') from error


def check_loops(cfg: Config) -> None:
    """Check that an epoch of the training, and the validation, can end.

    Raises:
        InputError: A sampler that never ends feeds a loop that takes all it gives, or an interval is not positive.
    """
    loops = {
        'train': 'an epoch of the training' if _counts_epochs(cfg) else None,  # the other loop counts iterations
        'val': 'the validation' if type_name(cfg.get('val_cfg')) in ('', 'ValLoop', 'TeacherStudentValLoop') else None,
    }
    for part, what in loops.items():
        loader = cfg.get(f'{part}_dataloader') or {}
        for key in ('sampler', 'batch_sampler'):
            cls = type_class(loader.get(key), DATA_SAMPLERS)
            if what and cls is not None and issubclass(cls, ENDLESS):
                raise InputError(
                    f'{what} would never end: {part}_dataloader.{key} is {cls.__name__}, which goes on for ever. '
                    'Set it to DefaultSampler'
                    + (', or train_cfg to IterBasedTrainLoop with max_iters' if part == 'train' else '')
                )
    interval = cfg.train_cfg.get('val_interval', 1)
    if isinstance(interval, int) and interval < 1:
        raise InputError(f'train_cfg.val_interval must be >= 1, but is {interval}')


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
    if length and begin > length:  # whatever the interval, the last epoch or iteration is validated
        unit = 'epochs' if cfg.train_cfg.get('max_epochs') else 'iterations'
        print(
            f'warning: the training never validates: it ends after {length} {unit}, before train_cfg.val_begin={begin}'
        )


def check_pretrained(cfg: Config, model: nn.Module) -> None:
    """Check that pre-trained weights can be had, and fit the model: a local file, or one that is downloaded.

    What is at an address is kept in torch's download cache.

    Raises:
        InputError: A checkpoint is not found, cannot be read or downloaded, or fits no part of the model.
    """
    for path in filter(_loads_here, pretrained_checkpoints(cfg)):
        try:
            check_part(model, load_checkpoint(path), path)
        except InputError as error:
            raise InputError(
                f'pre-trained weights cannot be used: {error}; name a local file with --cfg-options '
                'model.backbone.init_cfg.checkpoint=FILE, or train from random weights with --from-scratch'
            ) from None


def _loads_here(path: str) -> bool:
    """Return whether this process loads a checkpoint to check it: of several, one downloads."""
    return '://' not in path or is_main_process()


def check_device(cfg: Config) -> None:
    """Check that mixed precision has what it needs.

    Raises:
        InputError: It asks for a GPU or for bfloat16, and there is none.
    """
    kind = type_name(cfg.optim_wrapper)
    if kind == 'AmpOptimWrapper' and not torch.cuda.is_available():
        raise InputError(
            'mixed precision by AmpOptimWrapper needs a GPU, and torch sees none here: set --cfg-options '
            'optim_wrapper.type=OptimWrapper, or call for mixed precision on this processor with --amp'
        )
    if kind == 'CPUAmpOptimWrapper' and not computes_in_bfloat16():
        raise InputError(
            'mixed precision needs a GPU, or a processor that computes in bfloat16 (avx512_bf16, amx_bf16 or bf16 '
            'among its flags in /proc/cpuinfo), and this machine has neither: leave --amp out'
        )


def check_work_dir(cfg: Config) -> None:
    """Check that a training can write, does not overwrite the checkpoints of another, and can resume what it should.

    Raises:
        InputError: The work dir is a file or not to be written to, it holds
            checkpoints and the config does not resume, or what is installed
            cannot resume.
    """
    work_dir = Path(cfg.work_dir)
    if work_dir.is_file():
        raise InputError(f'work dir {work_dir} is a file: name a folder with --work-dir')
    try:
        check_writable(work_dir)
    except InputError as error:
        raise InputError(f'work dir {error} (--work-dir)') from None
    if not cfg.get('resume'):
        if latest_checkpoint(work_dir)[0]:
            raise InputError(
                f'work dir {work_dir} holds the checkpoints of a run already: continue it with --resume, '
                'or name another one with --work-dir'
            )
        return
    if digit_version(torch.__version__) >= digit_version('2.6') and digit_version(mmengine.__version__) < digit_version(
        '0.10.8'
    ):
        raise InputError(
            f'mmengine {mmengine.__version__} cannot resume with torch {torch.__version__}: '
            'install torch < 2.6, or the maintained distribution of requirements.txt'
        )


def _nearest_folder(path: Path) -> Path:
    """Return a path, or what is there of the way to it."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def checkpoint_bytes(cfg: Config, model: nn.Module) -> int:
    """Return the size of a checkpoint: weights and buffers, and the optimizer's state of what it trains."""
    states = 2 if 'Adam' in type_name(cfg.optim_wrapper.optimizer) else 1  # a parameter's
    trained = sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    return sum(one.numel() * one.element_size() for one in model.state_dict().values()) + states * trained


def kept_checkpoints(cfg: Config) -> int:
    """Return the number of checkpoints that a training leaves, 0 where it saves none."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if not hook:
        return 0
    length = cfg.train_cfg.get('max_epochs' if hook.get('by_epoch', True) else 'max_iters') or 1
    saved = max(1, length // max(1, hook.get('interval', 1)))
    most = hook.get('max_keep_ckpts', -1)
    return min(saved, most) if most >= 1 else saved


def check_room(cfg: Config, model: nn.Module) -> None:
    """Check that the disk of the work dir has room for the checkpoints, one more than are kept.

    Raises:
        InputError: It has not.
    """
    kept = kept_checkpoints(cfg)
    if not kept:
        return
    size = checkpoint_bytes(cfg, model)
    there = len(find_checkpoints(Path(cfg.work_dir)))  # of a training that goes on
    missing = kept + 1 - min(kept, there)
    free = shutil.disk_usage(_nearest_folder(Path(cfg.work_dir))).free
    if free < size * missing:
        raise InputError(
            f'the disk of work dir {cfg.work_dir} has {free / 2**20:.0f} MiB left, but {missing} checkpoints need '
            f'{size * missing / 2**20:.0f} MiB: free some, name another --work-dir, or keep fewer with '
            '--cfg-options default_hooks.checkpoint.max_keep_ckpts=1'
        )


def warn_of_learning_rate(cfg: Config) -> None:
    """Warn where the learning rate is meant for another number of images an iteration (linear scaling rule)."""
    scaling = cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    accumulated = cfg.optim_wrapper.get('accumulative_counts') or 1
    batch = (cfg.train_dataloader.get('batch_size') or 0) * world_size(cfg.get('launcher', 'none')) * accumulated
    rate = cfg.optim_wrapper.get('optimizer', {}).get('lr')
    if not base or not batch or not rate or scaling.get('enable'):
        return
    if batch / base >= LR_FACTOR or base / batch >= LR_FACTOR:
        print(
            f'warning: learning rate {rate:g} is meant for {base} images an iteration, and there are {batch}: scale it '
            f'with --cfg-options auto_scale_lr.enable=True, or optim_wrapper.optimizer.lr={rate * batch / base:g}'
        )


def check_training(cfg: Config, with_data: bool = True) -> None:
    """Run every check that a training needs, and report all findings at once.

    Args:
        cfg: The config.
        with_data: Whether annotations and images are checked too, and not because another config has the same.

    Raises:
        InputError: Something is wrong; nothing has been written.
    """
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
        [partial(check_hooks, cfg, model), partial(check_room, cfg, model), partial(check_start_weights, cfg, model)]
    )


def check_start_weights(cfg: Config, model: nn.Module) -> None:
    """Check the files that a training takes its first weights from: ``init_cfg``, ``load_from`` or ``--resume``.

    Args:
        cfg: Config of the training.
        model: Its model, whose weights are changed.

    Raises:
        InputError: A checkpoint cannot be read, fits nothing of the model, or the training cannot be resumed from it.
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
    """Check that a checkpoint can be read, was trained on the given classes, and has the weights of the model.

    Args:
        path: File or URL.
        classes: Class names that the checkpoint must have been trained on, or None.
        model: A model that gets the weights, in place, or None.

    Returns:
        The checkpoint's ``meta``, empty where it has none.

    Raises:
        InputError: The checkpoint cannot be read, has other classes, or leaves weights of the model random.
    """
    checkpoint = load_checkpoint(path)
    meta: dict[str, Any] = checkpoint.get('meta') or {}
    trained = (meta.get('dataset_meta') or {}).get('classes')
    if classes is not None and trained is not None and tuple(trained) != tuple(classes):
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
    """Say what a training would do, a setting a line; the config must have passed :func:`check_training`."""
    model = check_model(cfg)
    necks = find_fnoise_necks(model)
    batch = cfg.train_dataloader.get('batch_size')
    described = {
        'config': cfg.filename,
        'model': f'{type_name(cfg.model)}, {sum(parameter.numel() for parameter in model.parameters()):,} parameters',
        'F-Noise': '; '.join(f'{neck.noise} on levels {neck.levels or "all"}, {neck.position}' for neck in necks)
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
        'begins from': cfg.load_from or ', '.join(pretrained_checkpoints(cfg)) or 'random weights',
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

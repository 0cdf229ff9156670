"""Checks of annotations, images and classes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric, LVISMetric
from mmdet.registry import METRICS, TRANSFORMS
from mmengine.config import Config

from ...config import annotation_file, config_classes, evaluators, innermost_datasets, is_coco, is_local, nested_dicts
from ...config.types import type_class, type_name
from ...datasets import Use, annotation_findings, check_images, count_objects, is_inside, read_coco
from ...datasets.images import check_image_files, printable
from ...datasets.labels import kept_images, label_fault
from ...errors import InputError
from .findings import check_all, refuse


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


def _check_encoding(cfg: Config) -> None:
    """Check that the config can be saved, as every run does."""
    for value in (one for node in nested_dicts(cfg.to_dict()) for one in node.values() if isinstance(one, str)):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(
                f'{printable(value)} in the config is not UTF-8, so it cannot be saved: rename the file or folder'
            ) from None


def _check_parts_agree(cfg: Config, parts: Sequence[str]) -> None:
    """Check that training and validation have the same classes, and thus the same labels."""
    found = {}
    for part in parts:
        if cfg.get(f'{part}_dataloader'):
            dataset = next(innermost_datasets(cfg[f'{part}_dataloader'].dataset))
            found[part] = (config_classes(dataset), _numbers_labels(dataset))
    if len(found) < 2 or reads_classes_as_text(cfg):
        return
    (first, (classes, is_known)), *others = found.items()
    for part, (names, is_other_known) in others:
        if is_known and is_other_known and names != classes:
            kind = 'the same classes in another order' if set(names) == set(classes) else 'other classes'
            raise InputError(
                f'{part}_dataloader has {kind} than {first}_dataloader, so that their labels differ: metainfo.classes '
                f'is {some_of(names)}, and {some_of(classes)} in {first}_dataloader'
            )


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
    check_all([*(partial(refuse, f'{ann_file}: {error}') for error in errors), *checks])


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


def _numbers_labels(dataset: dict[str, Any]) -> bool:
    """Return whether a data set numbers its labels as mmdet's CocoDataset does."""
    return is_coco(dataset) and getattr(type_class(dataset), 'load_data_list', None) is CocoDataset.load_data_list


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
    if not is_coco_metric(evaluator):
        return
    classes = config_classes(datasets[0])
    coco = read_coco(ann_file, annotated=not only_writes)
    metrics = _coco_metrics(evaluator)
    errors = _annotation_errors(coco, ann_file, Use(False, metrics, classes)) if metrics else []
    fault = label_fault(coco, classes, complete=True)
    check_all(partial(refuse, f'{ann_file}: {error}') for error in [*errors, *([fault] if fault else [])])


def _same_file(evaluator: dict[str, Any], dataset: dict[str, Any]) -> bool:
    """Return whether an evaluator uses the annotations of the data set, having no file of its own."""
    named = evaluator.get('ann_file')
    return named is None or Path(named).resolve() == annotation_file(dataset).resolve()


def _coco_metrics(evaluator: dict[str, Any]) -> list[str]:
    """Return the types of COCO's evaluation of an evaluator, ``bbox`` and ``segm``."""
    if not is_coco_metric(evaluator) or evaluator.get('format_only'):
        return []
    named = evaluator.get('metric', 'bbox')
    return [named] if isinstance(named, str) else list(named)


def is_coco_metric(evaluator: dict[str, Any]) -> bool:
    """Return whether an evaluator is mmdet's ``CocoMetric`` or based on it, other than LVIS's."""
    cls = type_class(evaluator, METRICS)
    return cls is not None and issubclass(cls, CocoMetric) and not issubclass(cls, LVISMetric)


def reads_classes_as_text(cfg: Config) -> bool:
    """Return whether the model reads the names of the classes, and so has no head with a number of classes."""
    return any('language_model' in node for node in nested_dicts(cfg.get('model') or {}))


def some_of(names: Sequence[str]) -> str:
    """Return the first ten names as text."""
    return f'({", ".join(names[:10])}{", ..." if len(names) > 10 else ""})'

"""All checks of a training, and its description."""

import copy
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmdet.registry import DATA_SAMPLERS, HOOKS, METRICS, TRANSFORMS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, Registry
from torch import nn

from ...config import (
    annotation_file,
    evaluators,
    innermost_datasets,
    is_coco,
    is_local,
    nested_dicts,
    pretrained_checkpoints,
)
from ...config.types import type_class, type_name
from ...datasets import read_coco
from ...errors import InputError
from ...models.layers import find_noise_layers
from .data import check_data, is_coco_metric
from .findings import check_all
from .model import check_heads, check_hooks, check_model
from .settings import check_device, check_loops, check_settings, warn_of_learning_rate, warn_of_no_validation
from .weights import check_start_weights
from .work_dir import check_room, check_work_dir


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
        if is_coco_metric(evaluator):  # others may create folders
            yield 'val_evaluator', partial(METRICS.build, {**evaluator, 'ann_file': None})


def _check_registered(settings: dict[str, Any], registry: Registry) -> None:
    if type_class(settings, registry) is None:
        raise KeyError(f'{type_name(settings)} is not in the registry of {registry.name}s')


def _build_optimizer(cfg: Config, model: nn.Module) -> None:
    """Build the optimizer and, if it is one, its schedulers."""
    if 'optimizer' not in cfg.optim_wrapper and 'constructor' not in cfg.optim_wrapper:
        raise KeyError('it has no optimizer')
    logging.disable(logging.WARNING)  # one line per parameter, again in the training
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

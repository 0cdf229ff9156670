"""Detection of unused, mostly misspelt keys in ``--cfg-options``."""

import difflib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from .types import type_class

# Keys that mmengine removes from a config before it builds the object.
ALWAYS = {'type', '_delete_', '_scope_', 'init_cfg', 'constructor', 'paramwise_cfg', 'convert_to_iter_based'}
# Keys that mmengine's runner and mmdet's tools read besides the runner's arguments.
TOP_LEVEL = {
    'runner_type', 'auto_scale_lr', 'compile', 'model_wrapper_cfg', 'sync_bn', 'find_unused_parameters',
    'custom_imports', 'efficient_conv_bn_eval', 'activation_checkpointing', 'tta_model', 'tta_pipeline',
}  # fmt: skip
LOADER = {'dataset', 'sampler', 'batch_sampler', 'num_batch_per_epoch'}


def unknown_options(before: Config, after: Config, options: Iterable[str]) -> list[str]:
    """Find unused options.

    An option that replaces a setting is valid. One that adds a setting must be
    an argument of the ``type`` at its place, of the data loader, or of the
    runner. If these are unknown, only a near match of a neighbouring setting
    counts as misspelt.

    Args:
        before: Config without the options.
        after: Config with the options.
        options: Dotted keys of the options.

    Returns:
        One message per unused option, with the closest valid key if there is one.
    """
    found = []
    for option in options:
        keys = option.split('.')
        place = _first_new(before, keys)
        if place is None:
            if (
                len(keys) == 1 and keys[0] not in _arguments(after, [])[0]
            ):  # a variable of the file, already substituted
                near = sorted(_places_of(before, keys[0]), key=len)
                advice = f', did you mean {near[0]}?' if near else ''
                found.append(f'{option} is not used after the config is read{advice}')
            continue
        siblings, new = _at(before, keys[:place]), keys[place]
        parent = _at(after, keys[:place])
        if not isinstance(siblings, dict):
            siblings = {}
        known, is_all = _arguments(parent, keys[:place])
        if new in known:
            continue
        near = difflib.get_close_matches(new, [*siblings, *sorted(known)], n=1, cutoff=0.75)
        if not is_all and not near:
            continue
        advice = f', did you mean {".".join([*keys[:place], near[0], *keys[place + 1 :]])}?' if near else ''
        found.append(f'{option} is not used{advice}')
    return found


def _first_new(cfg: Any, keys: Sequence[str]) -> int | None:
    """Return the index of the first key missing from a config, None if there is none."""
    for place, key in enumerate(keys):
        inner = _step(cfg, key)
        if inner is _ABSENT:
            return place
        cfg = inner
    return None


_ABSENT = object()


def _step(node: Any, key: str) -> Any:
    if isinstance(node, list | tuple):
        return node[int(key)] if key.lstrip('-').isdigit() and int(key) < len(node) else _ABSENT
    if isinstance(node, dict | Config):
        return node.get(key, _ABSENT)
    return {}  # a value instead of a dict: all keys below it are new


def _at(cfg: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        cfg = _step(cfg, key)
    return cfg._cfg_dict if isinstance(cfg, Config) else cfg


def _places_of(node: Any, key: str, prefix: str = '') -> Iterator[str]:
    """Return the dotted keys below ``node`` that end in ``key``, except the top-level one."""
    for name, value in node.items() if isinstance(node, dict | Config) else ():
        if name == key and prefix:
            yield prefix + name
        yield from _places_of(value, key, f'{prefix}{name}.')


def _arguments(parent: Any, keys: Sequence[str]) -> tuple[set[str], bool]:
    """Return the valid settings at a place in a config, and whether the list is complete."""
    if not keys:
        return set(inspect.signature(Runner.__init__).parameters) | TOP_LEVEL | ALWAYS, True
    if not isinstance(parent, dict):
        return set(), False
    if keys[-1].endswith('_dataloader'):
        return set(inspect.signature(DataLoader.__init__).parameters) | LOADER, True
    cls = type_class(parent)
    return (set(), False) if cls is None else constructor_arguments(cls)


def constructor_arguments(cls: type) -> tuple[set[str], bool]:
    """Return the argument names of a class and its bases, and whether the list is complete."""
    names = set(ALWAYS)
    for base in cls.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = inspect.signature(vars(base)['__init__']).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return names, True
    return names, False

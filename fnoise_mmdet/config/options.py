"""Keys of ``--cfg-options`` that nothing reads."""

import difflib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from .types import type_class

# What mmengine takes out of a config before it builds what the config names.
ALWAYS = {'type', '_delete_', '_scope_', 'init_cfg', 'constructor', 'paramwise_cfg', 'convert_to_iter_based'}
# What its runner and mmdet's tools read besides the runner's own arguments.
TOP_LEVEL = {
    'runner_type', 'auto_scale_lr', 'compile', 'model_wrapper_cfg', 'sync_bn', 'find_unused_parameters',
    'custom_imports', 'efficient_conv_bn_eval', 'activation_checkpointing', 'tta_model', 'tta_pipeline',
}  # fmt: skip
LOADER = {'dataset', 'sampler', 'batch_sampler', 'num_batch_per_epoch'}


def unknown_options(before: Config, after: Config, options: Iterable[str]) -> list[str]:
    """Find the options that nothing reads, most of them misspelt.

    An option that replaces a setting is known. One that adds a setting must
    be an argument of what its place in the config names by ``type``, of the
    data loader, or of the runner; where that cannot be told, only what is
    almost the name of a setting beside it counts as misspelt.

    Args:
        before: The config without the options.
        after: The config with them.
        options: Their dotted keys.

    Returns:
        A sentence for each that names it and, where there is one, the nearest
        right key.
    """
    found = []
    for option in options:
        keys = option.split('.')
        place = _first_new(before, keys)
        if place is None:
            if (
                len(keys) == 1 and keys[0] not in _arguments(after, [])[0]
            ):  # a variable, whose value is where it was used
                near = sorted(_places_of(before, keys[0]), key=len)
                advice = f': did you mean {near[0]}?' if near else ''
                found.append(f'nothing reads {option} once the config is read{advice}')
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
        advice = f': did you mean {".".join([*keys[:place], near[0], *keys[place + 1 :]])}?' if near else ''
        found.append(f'nothing reads {option}{advice}')
    return found


def _first_new(cfg: Any, keys: Sequence[str]) -> int | None:
    """Return the place of the first key that a config does not have, None where it has them all."""
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
    return {}  # a value in the place of a dict: what comes below it is new


def _at(cfg: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        cfg = _step(cfg, key)
    return cfg._cfg_dict if isinstance(cfg, Config) else cfg


def _places_of(node: Any, key: str, prefix: str = '') -> Iterator[str]:
    """Return the dotted keys below ``node`` that end in ``key``, the one at the top left out."""
    for name, value in node.items() if isinstance(node, dict | Config) else ():
        if name == key and prefix:
            yield prefix + name
        yield from _places_of(value, key, f'{prefix}{name}.')


def _arguments(parent: Any, keys: Sequence[str]) -> tuple[set[str], bool]:
    """Return the settings that a place in a config is known to take, and whether these are all."""
    if not keys:
        return set(inspect.signature(Runner.__init__).parameters) | TOP_LEVEL | ALWAYS, True
    if not isinstance(parent, dict):
        return set(), False
    if keys[-1].endswith('_dataloader'):
        return set(inspect.signature(DataLoader.__init__).parameters) | LOADER, True
    cls = type_class(parent)
    return (set(), False) if cls is None else constructor_arguments(cls)


def constructor_arguments(cls: type) -> tuple[set[str], bool]:
    """Return the names that a class takes, those for its bases among them, and whether it takes no others."""
    names = set(ALWAYS)
    for base in cls.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = inspect.signature(vars(base)['__init__']).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return names, True
    return names, False

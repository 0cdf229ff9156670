"""The ``type`` of a config: a name, with or without scope or module, or a class."""

import inspect
from typing import Any

from mmdet import registry
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope
from mmengine.utils import get_object_from_string

REGISTRIES = [one for one in vars(registry).values() if isinstance(one, Registry) and one.scope == 'mmdet']


def type_name(config: Any) -> str:
    """Return the bare name of the class or function given as ``type``.

    ``'CocoDataset'``, ``'mmdet.CocoDataset'``, ``'mmdet.datasets.coco.CocoDataset'`` and the class itself (new-style
    configs) are equivalent. Empty if the config is not a dict or has no type.
    """
    kind = config.get('type') if isinstance(config, dict) else None
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', str(kind or ''))


def type_class(config: Any, *registries: Registry) -> type | None:
    """Return the class given as ``type``, None if there is none or it is unknown.

    Args:
        config: A dict.
        *registries: Registries to search. Defaults to all of mmdet's.
    """
    kind = config.get('type') if isinstance(config, dict) else None
    if not isinstance(kind, str):
        return kind if inspect.isclass(kind) else None
    init_default_scope('mmdet')
    for one in registries or REGISTRIES:
        try:
            found = one.get(kind)
        except RuntimeError:  # its module cannot be imported
            continue
        if inspect.isclass(found):
            return found
    return None


def with_named_types(cfg: Config) -> Config:
    """Return a config whose types are names, so that it can be copied, dumped and read again.

    New-style configs hold classes or lazy imports, which mmengine dumps as
    module paths. Registered classes get the name used in old-style configs,
    others their path. Other imported objects, such as constants, are kept.
    Names are looked up in the ``default_scope`` of the config, else in mmdet's.
    """
    settings = {name: cfg[name] for name in cfg.to_dict()}  # without the imports of a new-style config
    if settings.get('default_scope') is None:
        settings['default_scope'] = 'mmdet'
    if settings['default_scope'] == 'mmdet':
        for one in REGISTRIES:
            one.import_from_location()
    named = {name: _named(value) for name, value in settings.items() if not inspect.isclass(value)}
    return Config(named, cfg_text=cfg.text, filename=cfg.filename, env_variables=cfg.env_variables)


def _named(node: Any) -> Any:
    if isinstance(node, dict):
        # Some classes are arguments, e.g. resize_type of RandomResize and ema_type of EMAHook.
        return {
            name: _name_of(value) if name == 'type' or str(name).endswith('_type') else _named(value)
            for name, value in node.items()
        }
    if isinstance(node, list | tuple):
        return type(node)(map(_named, node))
    return node


def _name_of(kind: Any) -> Any:
    if isinstance(kind, str) and kind.count('.') < 2:  # a name, or one with a scope
        return kind
    target = get_object_from_string(kind) if isinstance(kind, str) else kind
    if not hasattr(target, '__qualname__'):
        return kind
    if target.__module__ == 'mmcv.ops.nms':  # mmcv registers these by their bare names only
        return target.__name__
    names = [name for one in REGISTRIES for name, module in _modules(one).items() if module is target]
    for name in sorted(names, key=lambda name: name != target.__name__):
        if all(_modules(one).get(name, target) is target for one in REGISTRIES):
            return name
    path = f'{target.__module__}.{target.__qualname__}'
    return path if get_object_from_string(path) is target else kind


def _modules(one: Registry) -> dict[str, Any]:
    """Return the entry of a registry, or of its parents, under a name without scope."""
    return {**(_modules(one.parent) if one.parent else {}), **one.module_dict}

"""Modules around another one that leave no trace in a checkpoint."""

from functools import partial
from typing import Any

from torch import nn


def hide_in_state_dict(module: nn.Module, name: str) -> None:
    """Save and load a module under the keys of its submodule ``name``, its only one with parameters or buffers."""
    module._register_state_dict_hook(partial(_strip_prefix, f'{name}.'))
    module._register_load_state_dict_pre_hook(partial(_add_prefix, f'{name}.'))


def _strip_prefix(inner: str, module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """``{prefix}{inner}x`` becomes ``{prefix}x``."""
    for content in (state_dict, getattr(state_dict, '_metadata', {})):
        for key in [key for key in content if key.startswith(prefix + inner)]:
            content[prefix + key[len(prefix + inner) :]] = content.pop(key)


def _add_prefix(inner: str, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """``{prefix}x`` becomes ``{prefix}{inner}x``."""
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f'{prefix}{inner}{key[len(prefix) :]}'] = state_dict.pop(key)

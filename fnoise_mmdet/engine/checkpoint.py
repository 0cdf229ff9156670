"""Loading checkpoints without running what they hold, and checking that they are what they should be."""

import argparse
import contextlib
import copy
import os
import re
import socket
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ..config.types import type_name
from ..errors import InputError
from .checkpoint_reader import CorruptCheckpointError, UnsafeCheckpointError, check_sums, read_checkpoint

# torch's own switches, which count wherever it loads something, within mmengine too.
WEIGHTS_ONLY, ANYTHING = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
DOWNLOAD_TIMEOUT = 30  # seconds of silence
MAX_CLASSES = 20_000  # the largest data set for detection has 13,204
LOG = ('vis_data', 'scalars.json')  # where mmengine's local back end writes scalars within a folder of a run
COUNT = 'an integer that is not negative'
_torch_load = torch.load


def refuse_code() -> None:
    """Have every checkpoint of this process be loaded as weights and plain data only.

    Whatever loads a checkpoint calls ``torch.load``: mmengine for each of its
    schemes, torch's download cache, mmdet. It is replaced, because mmengine
    allows itself ``getattr``, and reads a file that is refused a second time
    with everything allowed.
    """
    if os.environ.get(ANYTHING) != '1':
        os.environ[WEIGHTS_ONLY] = '1'  # for what has imported torch's own function, and for child processes
    torch.load = _load


class TrustCheckpoint(argparse.Action):
    """The option ``--trust-checkpoint``: load checkpoints as the programs that they may be."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(
            option_strings,
            dest,
            nargs=0,
            default=False,
            help='load a checkpoint that holds more than weights and plain data, which can run any code: only for '
            'files that you have made yourself, or whose maker you trust',
        )

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any) -> None:
        os.environ.pop(WEIGHTS_ONLY, None)
        os.environ[ANYTHING] = '1'
        setattr(namespace, self.dest, True)


def _load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Stand in for ``torch.load``; tensors are left on the CPU, from where what loads them copies them.

    Raises:
        InputError: The file cannot be read, or holds more than weights and plain data.
    """
    is_path = isinstance(f, str | os.PathLike)
    is_trusted = os.environ.get(ANYTHING) == '1'
    name = f if is_path else getattr(f, 'name', 'in memory')
    try:
        if is_trusted and is_path:
            check_sums(f)
        content = None if is_trusted else read_checkpoint(f)
    except UnsafeCheckpointError as error:
        raise InputError(
            f'checkpoint {name} holds more than weights and plain data ({one_line(error)}), and loading it could run '
            'any code: where you trust its maker, load it with --trust-checkpoint'
        ) from error
    except CorruptCheckpointError as error:
        raise InputError(
            f'checkpoint {name} cannot be read: {one_line(error)}; copy or download it again, or name another one'
        ) from error
    except OSError as error:
        raise InputError(f'checkpoint {name} cannot be read: {error.strerror or error}') from error
    if is_trusted:
        return _torch_load(f, map_location, *args, **{**kwargs, 'weights_only': False})
    if isinstance(content, dict) and isinstance(content.get('meta'), dict):
        content['meta'].pop('config', None)  # mmengine would run it as Python when it resumes
    return content


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Load as after :func:`refuse_code` within the block."""
    before, torch.load = torch.load, _load
    try:
        yield
    finally:
        torch.load = before


def one_line(text: object) -> str:
    """Bring text from a file to a line that can be printed, whatever it holds."""
    line = ' '.join(str(text).split())
    line = ''.join(letter if letter.isprintable() else '?' for letter in line)
    return line if len(line) <= 200 else f'{line[:200]}...'


def load_checkpoint(path: str) -> dict[str, Any]:
    """Load a checkpoint, its tensors on the CPU, and check what it says of itself.

    Args:
        path: File, or address as mmengine knows them; what is at an address is kept in torch's download cache.

    Raises:
        InputError: It is not found, corrupt, holds more than weights and plain
            data, or its entries are not what mmengine's are.
    """
    if '://' in path:
        content = _load_address(path)
    else:
        file = Path(path).expanduser()
        if not file.is_file():
            raise InputError(f'checkpoint {path} is not a file')
        content = _load_file(file)
    if not isinstance(content, dict):
        raise InputError(f'checkpoint {path} cannot be read: it holds a {type(content).__name__}, not a dict')
    try:
        _check_entries(content)
    except _InvalidEntryError as error:
        raise InputError(f'checkpoint {path} cannot be used: {error}') from error
    return content


def _load_file(path: Path) -> Any:
    try:
        return _load(path, 'cpu')
    except InputError:
        raise
    except Exception as error:  # of a trusted one
        raise InputError(f'checkpoint {path} cannot be read: {one_line(error)}') from error


def _load_address(address: str) -> Any:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # torch sets none
    try:
        if not address.startswith(('http://', 'https://')):  # a name for an address, as torchvision://resnet50
            with _guarded():
                return CheckpointLoader.load_checkpoint(address, map_location='cpu', logger='silent')
        path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlsplit(address).path).name
        is_new = not path.exists()
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
            print(f'downloading {address} to {path}')
            torch.hub.download_url_to_file(address, str(path), progress=False)
        try:
            return _load(path, 'cpu')
        except InputError:
            if is_new:  # what is wrong does not stay in the cache
                path.unlink(missing_ok=True)
            raise
    except InputError:
        raise
    except Exception as error:  # every scheme fails in its own way
        reason = getattr(error, 'reason', error)
        raise InputError(
            f'checkpoint {address} cannot be downloaded ({type(error).__name__}: {one_line(reason)}): check the '
            'address and the network, or name a local file'
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


class _InvalidEntryError(ValueError):
    """An entry of a checkpoint is not what mmengine's is; the message says which, and what it should be."""


def _require(condition: bool, entry: str, expected: str) -> None:
    if not condition:
        raise _InvalidEntryError(f'its entry {entry} should be {expected}')


def _check_entries(content: dict[str, Any]) -> None:
    """Check the entries that the tools use, where they are."""
    weights = content.get('state_dict', content)
    _require(isinstance(weights, dict), 'state_dict', 'a dict of weights')
    _require(all(isinstance(key, str) for key in weights), 'state_dict', 'a dict with names of weights as keys')
    meta = content.get('meta', {})
    _require(isinstance(meta, dict), 'meta', 'a dict')
    for name in {'epoch', 'iter'} & meta.keys():
        _require(_is_count(meta[name]), f'meta.{name}', COUNT)
    of_data = meta.get('dataset_meta', {})
    _require(
        isinstance(of_data, dict) and all(isinstance(key, str) for key in of_data), 'meta.dataset_meta',
        'a dict with texts as keys',
    )  # fmt: skip
    of_data = {key.lower(): value for key, value in of_data.items()}  # as mmdet takes them
    for of, key in ((of_data, 'classes'), (meta, 'CLASSES')):  # of mmdet 3, of mmdet 2
        _require(key not in of or _are_classes(of[key]), key, f'a list of 1 to {MAX_CLASSES:,} printable names')
    palette = of_data.get('palette')
    enough = len(of_data.get('classes') or ())
    _require(
        palette is None or palette in ('random', 'coco', 'citys', 'voc') or _are_colours(palette, enough),
        'meta.dataset_meta.palette', 'a list with a colour of three integers from 0 to 255 for each class',
    )  # fmt: skip


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _are_classes(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and 0 < len(value) <= MAX_CLASSES
        and all(isinstance(name, str) and name.isprintable() for name in value)
    )


def _are_colours(value: object, count: int) -> bool:
    if isinstance(value, tuple) and _is_colour(value):  # one for all classes
        return True
    return isinstance(value, list | tuple) and len(value) >= count and all(map(_is_colour, value))


def _is_colour(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(_is_count(part) and part < 256 for part in value)


def load_weights(model: nn.Module, content: dict[str, Any], path: str, partial: bool = False) -> None:
    """Load the weights of a checkpoint into a model, in place, and print what does not match.

    Args:
        model: The model.
        content: The checkpoint, or its weights alone. A prefix ``module.`` of
            their names is left out, as mmengine does.
        path: What to call it.
        partial: Whether weights that are missing, or of another shape, may
            stay as they are, as when a model is fine-tuned. Defaults to False.

    Raises:
        InputError: Weights would stay random, with ``partial`` all of them; or
            some are not finite.
    """
    source = content.get('state_dict', content)
    weights = OrderedDict((name.removeprefix('module.'), weight) for name, weight in source.items())
    weights._metadata = getattr(source, '_metadata', OrderedDict())  # type: ignore[attr-defined]
    keys: list[Any] = []  # the last are the model's
    handle = model.register_load_state_dict_post_hook(lambda _, found: keys.append(found))
    errors = ''
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # raised after all that fits is loaded
        errors = str(error)
    except Exception as error:  # a module's own conversion of junk
        raise InputError(f'checkpoint {path} does not fit the config: {one_line(error)}') from error
    finally:
        handle.remove()
    shapes = re.findall(r'size mismatch for (.+?): copying', errors)
    broken = re.findall(r'While copying the parameter named "(.+?)"', errors)
    if errors and not shapes + broken:
        raise InputError(f'checkpoint {path} does not fit the config: {one_line(errors)}')
    missing = [name for name in keys[-1].missing_keys if not name.endswith('num_batches_tracked')]
    findings = {
        'missing in it': missing,
        'not in the model': keys[-1].unexpected_keys,
        'of another shape': shapes,
        'not tensors': broken,
    }
    report = ', '.join(
        f'{len(names)} {what} ({", ".join(map(one_line, names[:3]))}{", ..." if len(names) > 3 else ""})'
        for what, names in findings.items()
        if names
    )
    unloaded = {*keys[-1].missing_keys, *shapes, *broken}
    trained = {
        name: value
        for name, value in [*model.named_parameters(), *model.named_buffers()]
        if isinstance(value, nn.Parameter) or name.endswith(('running_mean', 'running_var'))
    }
    random = unloaded & trained.keys()
    if broken or (random and not partial) or (trained and random == trained.keys()):
        raise InputError(
            f'checkpoint {path} does not fit the config: of its weights {report or "there are none"}; '
            f'{len(random)} of {len(trained)} weights of the model would be random: name the config that the '
            'checkpoint was trained with'
        )
    _check_finite({name: value for name, value in trained.items() if name not in random}, path)
    if report:
        print(f'checkpoint {path}: of its weights {report}')


def check_part(model: nn.Module, content: dict[str, Any], path: str) -> None:
    """Check that a checkpoint has weights for a part of a model, whatever the names of its modules.

    Raises:
        InputError: None of them has the name and shape of one in the model, or some that have are not finite.
    """
    shapes = {(name.rpartition('.')[2], weight.shape) for name, weight in model.state_dict().items() if weight.ndim}
    fitting = {
        name: weight
        for name, weight in content.get('state_dict', content.get('model', content)).items()
        if isinstance(weight, torch.Tensor) and (name.rpartition('.')[2], weight.shape) in shapes
    }
    if not fitting:
        raise InputError(f'checkpoint {path} fits no part of the model')
    _check_finite(fitting, path)


def _check_finite(weights: Mapping[str, torch.Tensor], path: str) -> None:
    infinite = [name for name, value in weights.items() if not value.isfinite().all()]
    if infinite:
        raise InputError(
            f'checkpoint {path} cannot be used: {len(infinite)} of its weights hold NaN or infinity ({infinite[0]}, '
            '...): name one that was saved earlier'
        )


def check_resumable(content: dict[str, Any], path: str, cfg: Config, model: nn.Module) -> None:
    """Check that a training can be resumed from a checkpoint: its weights, its counts, and the states that it holds.

    Args:
        content: The checkpoint.
        path: What to call it.
        cfg: Config of the training.
        model: Its model, whose weights are changed.

    Raises:
        InputError: An entry is missing, or is not what mmengine's is.
    """
    load_weights(model, content, path)
    try:
        meta = content.get('meta', {})
        for name in ('epoch', 'iter'):
            _require(_is_count(meta.get(name)), f'meta.{name}', COUNT)
        seed = meta.get('seed')
        _require(seed is None or (_is_count(seed) and seed < 2**32), 'meta.seed', f'{COUNT}, of 32 bits')
        _check_message_hub(content.get('message_hub'))
        if 'ema_state_dict' in content:
            _check_averages(content['ema_state_dict'], content.get('state_dict', {}))
        _check_log(content.get('log'))
        if 'optimizer' in content:
            _check_optimizer(content, cfg, model)
    except _InvalidEntryError as error:
        raise InputError(
            f'training cannot be resumed from checkpoint {path}: {error}; for its weights alone, '
            'set --cfg-options load_from=FILE in place of --resume'
        ) from error


def _check_message_hub(hub: Any) -> None:
    names = 'log_scalars', 'runtime_info', 'resumed_keys'
    _require(
        isinstance(hub, dict) and all(isinstance(hub.get(name), dict) for name in names), 'message_hub',
        f'a dict with the dicts {", ".join(names)}',
    )  # fmt: skip
    info = hub['runtime_info']
    for name, value in info.items():
        entry = f'message_hub.runtime_info.{one_line(name)}'
        if name in ('epoch', 'iter', 'max_epochs', 'max_iters'):
            _require(_is_count(value), entry, COUNT)
        elif str(name).startswith('best_score'):
            _require(isinstance(value, int | float | np.number), entry, 'a number')
        elif name == 'keep_ckpt_ids':
            _require(isinstance(value, list) and all(map(_is_count, value)), entry, 'a list of integers')
        elif str(name).startswith(('best_ckpt', 'last_ckpt')):
            _require(value is None or isinstance(value, str), entry, 'a path')


def _check_averages(averages: Any, weights: dict[str, Any]) -> None:
    """Check what mmengine's ``EMAHook`` has saved, which it exchanges for the weights."""
    _require(
        isinstance(averages, dict)
        and all(
            isinstance(name, str) and isinstance(value, torch.Tensor) and bool(value.isfinite().all())
            and value.shape == getattr(weights.get(name.removeprefix('module.'), value), 'shape', None)
            for name, value in averages.items()
        ), 'ema_state_dict', 'a dict of averaged weights, of the shapes of those in state_dict',
    )  # fmt: skip


def _check_log(log: Any) -> None:
    """Check what :class:`~fnoise_mmdet.engine.hooks.ExactResumeHook` has saved."""
    if log is None:
        return
    _require(
        isinstance(log, list | tuple) and len(log) == 2 and isinstance(log[0], str) and _is_count(log[1]), 'log',
        'the path of the log within the work dir, and its size in bytes',
    )  # fmt: skip
    parts = Path(log[0]).parts
    _require(
        not Path(log[0]).is_absolute() and '..' not in parts and parts[-2:] == LOG and '\0' not in log[0], 'log',
        f'a file {"/".join(LOG)} within the work dir',
    )  # fmt: skip


def _check_optimizer(content: dict[str, Any], cfg: Config, model: nn.Module) -> None:
    """Load the states of optimizer and schedules, and take a step from there."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    try:
        wrapper: Any = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
        optimizers = [one.optimizer for one in _wrappers(wrapper)]
        for optimizer in optimizers:
            optimizer.step()
    except Exception:  # it needs another device, which is no fault of the checkpoint
        return
    expected = "the state of the config's optimizer"
    sketches = [_sketch(optimizer) for optimizer in optimizers]
    try:
        wrapper.load_state_dict(copy.copy(content['optimizer']))
        # torch's fused step writes beyond tensors that are smaller than their parameter.
        if not all(_fits_sketch(optimizer, *sketch) for optimizer, sketch in zip(optimizers, sketches)):
            raise ValueError('a state or a setting is of another shape or type')
        for optimizer in optimizers:
            optimizer.step()
    except Exception as error:  # every optimizer fails in its own way
        raise _InvalidEntryError(f'its entry optimizer should be {expected}, but {one_line(error)}') from error
    finally:
        model.zero_grad()
    _require(all(value.isfinite().all() for value in model.parameters()), 'optimizer', f'{expected}, of finite numbers')
    if 'param_schedulers' in content:
        _check_schedules(content['param_schedulers'], cfg, wrapper)


def _sketch(optimizer: torch.optim.Optimizer) -> tuple[dict[torch.Tensor, dict[str, Any]], list[dict[str, Any]]]:
    """Return the states of an optimizer's parameters, of tensors only shapes and types, and its settings."""
    states = {
        parameter: {name: one.to('meta') if isinstance(one, torch.Tensor) else one for name, one in state.items()}
        for parameter, state in optimizer.state.items()
    }
    return states, [{**group, 'params': []} for group in optimizer.param_groups]


def _fits_sketch(optimizer: torch.optim.Optimizer, states: dict, groups: list[dict[str, Any]]) -> bool:
    trained = {parameter: state for parameter, state in optimizer.state.items() if parameter.grad is not None}
    return all(
        name in states.get(parameter, {}) and _are_alike(value, states[parameter][name])
        for parameter, state in trained.items()
        for name, value in state.items()
    ) and all(
        _are_alike(group[name], value)
        for group, before in zip(optimizer.param_groups, groups)
        for name, value in before.items()
        if name != 'params'
    )


def _wrappers(wrapper: Any) -> list[Any]:
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def _check_schedules(states: Any, cfg: Config, wrapper: Any) -> None:
    configs = cfg.get('param_scheduler') or []
    configs = [configs] if 'type' in configs else configs
    if not isinstance(configs, list):  # of several optimizers
        return
    _require(
        isinstance(states, list) and all(isinstance(state, dict) for state in states),
        'param_schedulers',
        'a list of dicts',
    )
    for number, (config, state) in enumerate(zip(configs, states)):
        settings = {name: value for name, value in config.items() if name != 'convert_to_iter_based'}
        try:
            expected = PARAM_SCHEDULERS.build(settings, default_args=dict(optimizer=wrapper)).state_dict()
        except Exception:
            continue
        entry = f'param_schedulers[{number}]'
        _require(state.keys() <= expected.keys(), entry, f'the state of a {type_name(config)}')
        for name, value in expected.items():
            _require(
                name not in state or _are_alike(state[name], value),
                f'{entry}.{one_line(name)}',
                f'as {one_line(value)}',
            )


def _are_alike(value: Any, expected: Any) -> bool:
    """Return whether a value has the type of another, and a tensor its shape."""
    if isinstance(expected, torch.Tensor):
        return isinstance(value, torch.Tensor) and (value.shape, value.dtype) == (expected.shape, expected.dtype)
    if isinstance(expected, list | tuple):
        return isinstance(value, list | tuple) and all(isinstance(part, int | float | None) for part in value)
    if isinstance(expected, int | float | None):
        return isinstance(value, int | float | None)
    return isinstance(value, type(expected))

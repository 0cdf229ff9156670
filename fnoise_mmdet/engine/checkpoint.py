"""Safe loading and validation of checkpoints."""

import contextlib
import copy
import hashlib
import os
import re
import socket
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ..config.types import type_name
from ..errors import InputError
from .checkpoint_reader import CorruptCheckpointError, UnsafeCheckpointError, check_sums, read_checkpoint

# Environment variables of torch.load.
WEIGHTS_ONLY, ANYTHING = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
DOWNLOAD_TIMEOUT = 30  # seconds
MAX_CLASSES = 20_000  # the largest detection data set has 13,204
LOG = ('vis_data', 'scalars.json')  # scalars file of mmengine's local backend, within the folder of a start
COUNT = 'a non-negative integer'
_torch_load = torch.load
_trusted = False  # set only by trust_checkpoints(), never by an inherited variable


def refuse_code() -> None:
    """Restrict ``torch.load`` in this process to weights and plain data.

    All loading goes through ``torch.load``: by mmengine, torch's download cache
    and mmdet. It is replaced, because mmengine adds ``getattr`` to the safe
    globals, and retries a rejected file without restrictions. So is mmengine's
    download, which takes a cached file for that of any URL with the same file name.
    """
    if not _trusted:
        os.environ.pop(ANYTHING, None)
        os.environ[WEIGHTS_ONLY] = '1'  # for earlier imports of torch.load, and child processes
    torch.load = _load
    CheckpointLoader.register_scheme(('http://', 'https://'), load_from_http, force=True)


def trust_checkpoints() -> None:
    """Load checkpoints with arbitrary pickled objects from now on, also in child processes."""
    global _trusted
    _trusted = True
    os.environ.pop(WEIGHTS_ONLY, None)
    os.environ[ANYTHING] = '1'


def _load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Replacement for ``torch.load``, which leaves tensors on the CPU.

    Raises:
        InputError: If the file cannot be read, or holds more than weights and plain data.
    """
    is_path = isinstance(f, str | os.PathLike)
    name = f if is_path else getattr(f, 'name', 'in memory')
    try:
        if _trusted and is_path:
            check_sums(f)
        content = None if _trusted else read_checkpoint(f)
    except UnsafeCheckpointError as error:
        raise InputError(
            f'checkpoint {name} holds more than weights and plain data ({one_line(error)}), and loading it could '
            'execute arbitrary code: if you trust its source, load it with --trust-checkpoint'
        ) from error
    except CorruptCheckpointError as error:
        raise InputError(
            f'checkpoint {name} cannot be read: {one_line(error)}; copy or download it again, or use another one'
        ) from error
    except OSError as error:
        raise InputError(f'checkpoint {name} cannot be read: {error.strerror or error}') from error
    if _trusted:
        return _torch_load(f, map_location, *args, **{**kwargs, 'weights_only': False})
    if isinstance(content, dict) and isinstance(content.get('meta'), dict):
        content['meta'].pop('config', None)  # mmengine would execute it as Python on resume
    return content


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Apply :func:`refuse_code` within the block."""
    before, torch.load = torch.load, _load
    try:
        yield
    finally:
        torch.load = before


def one_line(text: object) -> str:
    """Return untrusted text as one printable line."""
    line = ' '.join(str(text).split())
    line = ''.join(letter if letter.isprintable() else '?' for letter in line)
    return line if len(line) <= 200 else f'{line[:200]}...'


def load_checkpoint(path: str) -> dict[str, Any]:
    """Load a checkpoint on the CPU, and validate its entries.

    Args:
        path: File, or URL in a scheme of mmengine; downloads are kept in torch's cache.

    Raises:
        InputError: If it is not found, corrupt, holds more than weights and
            plain data, or has invalid entries.
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
    except Exception as error:  # of a trusted checkpoint
        raise InputError(f'checkpoint {path} cannot be read: {one_line(error)}') from error


def _load_address(address: str) -> Any:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # torch sets no timeout
    try:
        if not address.startswith(('http://', 'https://')):  # an alias such as torchvision://resnet50
            with _guarded():
                return CheckpointLoader.load_checkpoint(address, map_location='cpu', logger='silent')
        path = _cached(address)
        is_new = not path.exists()
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
            print(f'downloading {_without_secrets(address)} to {path}')
            torch.hub.download_url_to_file(address, str(path), progress=False)
        try:
            content = _load(path, 'cpu')
        except InputError:
            if is_new:  # do not keep an invalid file in the cache
                path.unlink(missing_ok=True)
            raise
        _claim(path, address)
        return content
    except InputError:
        raise
    except Exception as error:  # every scheme raises other types
        reason = getattr(error, 'reason', error)
        raise InputError(
            f'checkpoint {_without_secrets(address)} cannot be downloaded ({type(error).__name__}: '
            f'{one_line(reason)}): check the URL and the network, or use a local file'
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def load_from_http(filename: str, map_location: Any = None, **_: Any) -> Any:
    """Replacement for mmengine's function of this name: rank 0 downloads, and the others read its cache."""
    rank, world_size = get_dist_info()
    if rank == 0:
        content = _load_address(filename)
    if world_size > 1:
        torch.distributed.barrier()
        if rank > 0:
            content = _load_address(filename)
    return content


def _cached(address: str) -> Path:
    """Return the file of a URL in torch's cache, with a name of its own if that of the URL belongs to another one."""
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlsplit(address).path).name
    owner = _owner(path)
    if owner.is_file() and owner.read_text() != _digest(address):
        return path.with_name(f'{_digest(address)[:16]}_{path.name}')
    return path


def _claim(path: Path, address: str) -> None:
    """Record which URL a cached file is of."""
    with contextlib.suppress(OSError):  # a cache that is shared and read-only
        _owner(path).write_text(_digest(address))


def _owner(path: Path) -> Path:
    return path.with_name(f'{path.name}.url_sha256')


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()


def _without_secrets(address: str) -> str:
    """Return a URL without user, password and query."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition('@')[2], query='', fragment='').geturl()


class _InvalidEntryError(ValueError):
    """Invalid entry of a checkpoint; the message names it and what it should be."""


def _require(condition: bool, entry: str, expected: str) -> None:
    if not condition:
        raise _InvalidEntryError(f'its entry {entry} should be {expected}')


def _check_entries(content: dict[str, Any]) -> None:
    """Check the entries that the tools use, if present."""
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
        'a dict with strings as keys',
    )  # fmt: skip
    of_data = {key.lower(): value for key, value in of_data.items()}  # as in mmdet
    for of, key in ((of_data, 'classes'), (meta, 'CLASSES')):  # mmdet 3, mmdet 2
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
    if isinstance(value, tuple) and _is_colour(value):  # one colour for all classes
        return True
    return isinstance(value, list | tuple) and len(value) >= count and all(map(_is_colour, value))


def _is_colour(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(_is_count(part) and part < 256 for part in value)


def trained_classes(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes in the meta of a checkpoint, as of any version of mmdet from 2.0, None if it has none."""
    of_data = {key.lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
    classes = of_data.get('classes', meta.get('CLASSES'))
    return None if classes is None else tuple(classes)


def load_weights(model: nn.Module, content: dict[str, Any], path: str, partial: bool = False) -> None:
    """Load the weights of a checkpoint into a model, in place, and print mismatches.

    Args:
        model: The model.
        content: The checkpoint, or only its weights. A prefix ``module.`` of
            their names is removed, as in mmengine.
        path: Name of the checkpoint in messages.
        partial: Whether weights may be missing or of another shape, as in
            fine-tuning. Defaults to False.

    Raises:
        InputError: If weights would stay random (with ``partial``, all of
            them), or some are not finite.
    """
    source = content.get('state_dict', content)
    weights = OrderedDict((name.removeprefix('module.'), weight) for name, weight in source.items())
    weights._metadata = getattr(source, '_metadata', OrderedDict())  # type: ignore[attr-defined]
    keys: list[Any] = []  # the last call is that of the model itself
    handle = model.register_load_state_dict_post_hook(lambda _, found: keys.append(found))
    errors = ''
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # raised after all matching weights are loaded
        errors = str(error)
    except Exception as error:  # from a module's own conversion
        raise InputError(f'checkpoint {path} does not fit the config: {one_line(error)}') from error
    finally:
        handle.remove()
    shapes = re.findall(r'size mismatch for (.+?): copying', errors)
    broken = re.findall(r'While copying the parameter named "(.+?)"', errors)
    if errors and not shapes + broken:
        raise InputError(f'checkpoint {path} does not fit the config: {one_line(errors)}')
    missing = [name for name in keys[-1].missing_keys if not name.endswith('num_batches_tracked')]
    findings = {
        'missing': missing,
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
            f'checkpoint {path} does not fit the config: {report or "it has no weights"}; '
            f'{len(random)} of {len(trained)} weights of the model would be random: use the config with which the '
            'checkpoint was trained'
        )
    _check_finite({name: value for name, value in trained.items() if name not in random}, path)
    if report:
        print(f'checkpoint {path}: weights: {report}')


def published(content: dict[str, Any], path: str, part: str | None = None) -> dict[str, Any]:
    """Return what inference and fine-tuning need of a checkpoint: weights, and classes with their colours.

    Args:
        content: The checkpoint.
        path: Name of the checkpoint in messages.
        part: ``'teacher'`` or ``'student'`` of a semi-supervised training,
            whose weights become those of a plain detector. Defaults to None,
            which is all weights.

    Raises:
        InputError: If the checkpoint has no weights of this part, or of both
            and ``part`` is None, or some are not finite.
    """
    weights = content.get('state_dict', content)
    names = {name.partition('.')[0] for name in weights}
    if part is None and {'student', 'teacher'} <= names:
        raise InputError(f'checkpoint {path} has a student and a teacher: choose one with --part')
    if part is not None:
        start = f'{part}.'
        weights = {name[len(start) :]: weight for name, weight in weights.items() if name.startswith(start)}
        if not weights:
            raise InputError(f'checkpoint {path} has no {part}: it is not from a semi-supervised training')
    if not weights or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise InputError(f'checkpoint {path} has no weights, or something else among them')
    _check_finite(weights, path)
    kept = {key: value for key, value in content.get('meta', {}).items() if key in ('dataset_meta', 'CLASSES')}
    return dict(meta=kept, state_dict=dict(weights))


def check_part(model: nn.Module, content: dict[str, Any], path: str, least: float = 0.0) -> None:
    """Check that a checkpoint has weights for a part of a model, for any names of its modules.

    A weight fits if it has the last name (``weight``, ``bias``, ...) and the
    shape of a weight of the model, each of which it can fill once.

    Args:
        model: Model, or the part of it that is initialized from the checkpoint.
        content: Content of the checkpoint.
        path: Path for messages.
        least: Share of the model's elements that must be filled. Defaults to 0: one weight is enough.

    Raises:
        InputError: If less fits, or what fits is not finite.
    """
    wanted = Counter(
        (name.rpartition('.')[2], weight.shape) for name, weight in model.state_dict().items() if weight.ndim
    )
    elements, left = sum(shape.numel() * count for (_, shape), count in wanted.items()), wanted.copy()
    fitting = {}
    for name, weight in content.get('state_dict', content.get('model', content)).items():
        if isinstance(weight, torch.Tensor) and left[kind := (name.rpartition('.')[2], weight.shape)] > 0:
            left[kind] -= 1
            fitting[name] = weight
    if not fitting:
        raise InputError(f'checkpoint {path} fits no part of the model')
    share = sum(weight.numel() for weight in fitting.values()) / elements
    if share < least:
        raise InputError(
            f'checkpoint {path} is of another model: it has only {100 * share:.0f} % of the weights of '
            f'{type(model).__name__} with the same shape'
        )
    _check_finite(fitting, path)


def _check_finite(weights: Mapping[str, torch.Tensor], path: str) -> None:
    infinite = [name for name, value in weights.items() if not value.isfinite().all()]
    if infinite:
        raise InputError(
            f'checkpoint {path} cannot be used: {len(infinite)} of its weights hold NaN or infinity ({infinite[0]}, '
            '...): use an earlier one'
        )


def check_resumable(content: dict[str, Any], path: str, cfg: Config, model: nn.Module) -> None:
    """Check that a training can be resumed from a checkpoint: weights, counters, and states.

    Args:
        content: The checkpoint.
        path: Name of the checkpoint in messages.
        cfg: Config of the training.
        model: Model of the training, whose weights are changed.

    Raises:
        InputError: If an entry is missing or invalid.
    """
    load_weights(model, content, path)
    try:
        meta = content.get('meta', {})
        for name in ('epoch', 'iter'):
            _require(_is_count(meta.get(name)), f'meta.{name}', COUNT)
        seed = meta.get('seed')
        _require(seed is None or (_is_count(seed) and seed < 2**32), 'meta.seed', f'{COUNT} of 32 bits')
        _check_message_hub(content.get('message_hub'))
        if 'ema_state_dict' in content:
            _check_averages(content['ema_state_dict'], content.get('state_dict', {}))
        _check_log(content.get('log'))
        if 'optimizer' in content:
            _check_optimizer(content, cfg, model)
    except _InvalidEntryError as error:
        raise InputError(
            f'training cannot be resumed from checkpoint {path}: {error}; to load only its weights, '
            'use --cfg-options load_from=FILE instead of --resume'
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
    """Check the state of mmengine's ``EMAHook``, which it swaps with the weights."""
    _require(
        isinstance(averages, dict)
        and all(
            isinstance(name, str) and isinstance(value, torch.Tensor) and bool(value.isfinite().all())
            and value.shape == getattr(weights.get(name.removeprefix('module.'), value), 'shape', None)
            for name, value in averages.items()
        ), 'ema_state_dict', 'a dict of averaged weights with the shapes of those in state_dict',
    )  # fmt: skip


def _check_log(log: Any) -> None:
    """Check the state of :class:`~fnoise_mmdet.engine.hooks.ExactResumeHook`."""
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
    """Load the states of optimizer and schedulers, and take a step."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    try:
        wrapper: Any = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
        optimizers = [one.optimizer for one in _wrappers(wrapper)]
        for optimizer in optimizers:
            optimizer.step()
    except Exception:  # it needs another device, not an error of the checkpoint
        return
    expected = "the state of the config's optimizer"
    sketches = [_sketch(optimizer) for optimizer in optimizers]
    try:
        wrapper.load_state_dict(copy.copy(content['optimizer']))
        # torch's fused step writes out of bounds if a state is smaller than its parameter.
        if not all(_fits_sketch(optimizer, *sketch) for optimizer, sketch in zip(optimizers, sketches)):
            raise ValueError('a state or a setting is of another shape or type')
        for optimizer in optimizers:
            optimizer.step()
    except Exception as error:  # every optimizer raises other types
        raise _InvalidEntryError(f'its entry optimizer should be {expected}: {one_line(error)}') from error
    finally:
        model.zero_grad()
    _require(
        all(value.isfinite().all() for value in model.parameters()), 'optimizer', f'{expected}, with finite values'
    )
    if 'param_schedulers' in content:
        _check_schedules(content['param_schedulers'], cfg, wrapper)


def _sketch(optimizer: torch.optim.Optimizer) -> tuple[dict[torch.Tensor, dict[str, Any]], list[dict[str, Any]]]:
    """Return parameter states and settings of an optimizer, with tensors as shapes and dtypes."""
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
    if not isinstance(configs, list):  # dict of several optimizers
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
                f'like {one_line(value)}',
            )


def _are_alike(value: Any, expected: Any) -> bool:
    """Return whether a value has the type of another and, for tensors, its shape."""
    if isinstance(expected, torch.Tensor):
        return isinstance(value, torch.Tensor) and (value.shape, value.dtype) == (expected.shape, expected.dtype)
    if isinstance(expected, list | tuple):
        return isinstance(value, list | tuple) and all(isinstance(part, int | float | None) for part in value)
    if isinstance(expected, int | float | None):
        return isinstance(value, int | float | None)
    return isinstance(value, type(expected))

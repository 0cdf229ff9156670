"""The conditions of a sweep: noises at several scales, and settings of one's own."""

import copy
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config

from ..config import add_fnoise, merge_options, noise_label, noise_settings
from ..errors import InputError
from .study import BASELINE


def sweep_conditions(presets: Sequence[str], scales: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Return the noise of each condition of a sweep, as arguments of :func:`.add_fnoise`.

    A preset is combined with all scales, ``NAME=SCALE`` only with its own, and
    a noise without a scale is one condition. Scale 0 is the baseline, which is
    a condition of every sweep.

    Raises:
        InputError: If a noise is unknown, given twice, or cannot have the scale.
    """
    conditions: dict[str, dict[str, Any]] = {}
    for text in presets:
        preset, settings = _read_noise(text, f'--preset {text}')
        preset = noise_label(preset)
        noise = settings['noise']
        if '=' in text:
            found = {f'{preset}_{noise["scale"]}': settings}
        elif not _has_scale(noise):
            found = {preset: settings}
        else:
            chosen = [float(scale) for scale in scales if scale != 0]
            for scale in chosen:
                _check_scale(scale, '--scale')
            if len(set(chosen)) < len(chosen):
                raise InputError('--scale: a scale is given more than once')
            found = {f'{preset}_{scale}': dict(settings, noise=dict(noise, scale=scale)) for scale in chosen}
        for condition, one in found.items():
            if condition in conditions:
                raise InputError(f'--preset: {condition} is given more than once')
            conditions[condition] = one
    return conditions


def _read_noise(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return the name in ``NAME`` or ``NAME=SCALE``, and the arguments of :func:`.add_fnoise`."""
    preset, fixed, own = text.partition('=')
    try:
        settings = noise_settings(preset)
    except InputError as error:
        raise InputError(f'{where}: {error}') from None
    if not fixed:
        return preset, settings
    if not _has_scale(settings['noise']):
        raise InputError(f'{where}: {preset} has no scale')
    try:
        scale = float(own)
    except ValueError:
        raise InputError(f'{where}: {own!r} is not a number') from None
    _check_scale(scale, where)
    return preset, dict(settings, noise=dict(settings['noise'], scale=scale))


def _check_scale(scale: float, where: str) -> None:
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f'{where}: the scale of a noise must be > 0, but got {scale}')


def _has_scale(noise: Mapping[str, Any]) -> bool:
    return 'scale' in MODELS.get(noise['type']).strengths


def sweep_configs(
    baseline: Config,
    conditions: Mapping[str, dict[str, Any]],
    own: Sequence[tuple[str, dict[str, Any]]] = (),
) -> dict[str, Config]:
    """Return the config of the baseline, and of each condition with its noise at its published place.

    Args:
        baseline: Config without noise.
        conditions: Noise of each condition, see :func:`sweep_conditions`.
        own: Other conditions: ``NAME``, or ``NAME:NOISE[=SCALE]``, and the settings that are overridden.

    Raises:
        InputError: If noise cannot be inserted into the baseline, or it already
            has noise, or a condition of one's own is not valid, or there is no condition.
    """
    configs = {BASELINE: baseline}
    for name, settings in conditions.items():
        configs[name] = add_fnoise(copy.deepcopy(baseline), **settings)
    for text, options in own:
        where = f'--condition {text}'
        name, _, noise = text.partition(':')
        if not re.fullmatch(r'\w[\w.-]*', name):
            raise InputError(f'{where}: a name has letters, digits, _, - and . only')
        if name in configs or name == 'report':  # the folder of the report
            raise InputError(f'{where}: the name {name} is taken')
        cfg = copy.deepcopy(baseline)
        if noise:
            add_fnoise(cfg, **_read_noise(noise, where)[1])
        merge_options(cfg, options, where)
        if cfg.to_dict() == baseline.to_dict():
            raise InputError(f'{where}: it is the same as the baseline')
        configs[name] = cfg
    if len(configs) == 1:
        raise InputError('a sweep needs at least one condition: pass --scale > 0 or --condition')
    return configs

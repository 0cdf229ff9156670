"""The conditions of a sweep: noises at several scales."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config

from ..config import add_fnoise, noise_settings
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
        preset, fixed, own = text.partition('=')
        try:
            settings = noise_settings(preset)
        except InputError as error:
            raise InputError(f'--preset {text}: {error}') from None
        noise = settings['noise']
        if 'scale' not in MODELS.get(noise['type']).strengths:
            if fixed:
                raise InputError(f'--preset {text}: {preset} has no scale')
            found = {preset: settings}
        else:
            try:
                chosen = [float(own)] if fixed else [float(scale) for scale in scales if scale != 0]
            except ValueError:
                raise InputError(f'--preset {text}: {own!r} is not a number') from None
            bad = [scale for scale in chosen if not (math.isfinite(scale) and scale > 0)]
            if bad:
                what = f'--preset {text}' if fixed else '--scale'
                raise InputError(f'{what}: the scale of a noise must be > 0, but got {bad[0]}')
            if not fixed and len(set(chosen)) < len(chosen):
                raise InputError('--scale: a scale is given more than once')
            found = {f'{preset}_{scale}': dict(settings, noise=dict(noise, scale=scale)) for scale in chosen}
        for condition, one in found.items():
            if condition in conditions:
                raise InputError(f'--preset: {condition} is given more than once')
            conditions[condition] = one
    if not conditions:
        raise InputError('a sweep needs noise: give a --scale > 0')
    return conditions


def sweep_configs(baseline: Config, conditions: Mapping[str, dict[str, Any]]) -> dict[str, Config]:
    """Return the config of the baseline, and of each condition with its noise at its published place.

    Raises:
        InputError: If noise cannot be inserted into the baseline, or it already has noise.
    """
    noisy = {name: add_fnoise(copy.deepcopy(baseline), **settings) for name, settings in conditions.items()}
    return {BASELINE: baseline, **noisy}

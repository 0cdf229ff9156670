"""Noises by their names on the command line."""

import re
from typing import Any

from mmdet.registry import MODELS

from ..errors import InputError, did_you_mean
from ..noise import NOISES, PRESETS, Noise

# Values of ``--fnoise`` and the configs of their noises.
NOISE_CONFIGS: dict[str, dict[str, Any]] = {
    **{preset: dict(type='FeatureNoise', preset=preset) for preset in PRESETS},
    **{noise.__name__: dict(type=noise.__name__) for noise in NOISES if noise.__name__ != 'FeatureNoise'},
}
# Noises whose sources, papers or public code, have another place than all levels before the neck.
PUBLISHED_PLACES: dict[str, dict[str, Any]] = {
    'mean_normal': dict(levels=[-1]),
    'uniform_20': dict(place='post'),
    'channel_l2': dict(place='post'),
    'FeatureDropBlock': dict(place='stage', levels=[-2, -1]),  # groups 3 and 4 of ResNet
    'NormalizationPerturbation': dict(place='stage', levels=[0]),  # shallow layers
    'DSU': dict(place='stage'),
    'MixStyle': dict(place='stage', levels=[0, 1]),  # layer1 and layer2 of ResNet
}


def noise_settings(text: str) -> dict[str, Any]:
    """Return the arguments of :func:`.add_fnoise` for a noise: its config, and its place.

    Args:
        text: ``NOISE``, which is at its published place, or ``NOISE@PLACE`` or
            ``NOISE@PLACE:LEVELS``, such as ``DSU@stage:0,1``. The noise is a key of :data:`NOISE_CONFIGS`, or the name
            of a subclass of :class:`~fnoise_mmdet.Noise` that is registered in mmdet's ``MODELS``.

    Raises:
        InputError: If there is no such noise; the message suggests the closest one. If the levels are not integers.
    """
    name, at, place = text.partition('@')
    if not at:
        return _published(name)
    place, colon, levels = place.partition(':')
    settings = dict(noise=_published(name)['noise'], place=place)
    if not place:
        raise InputError(f'{text!r} has no place after @: write {name}@stage, for example')
    if colon:
        try:
            settings['levels'] = [int(level) for level in levels.split(',')]
        except ValueError:
            raise InputError(f'the levels in {text!r} must be integers, as in {name}@{place}:0,1') from None
    return settings


def noise_label(text: str) -> str:
    """Return the ``NOISE@PLACE:LEVELS`` of :func:`noise_settings` as a part of a file name."""
    return re.sub('[@:,]', '_', text)


def _published(name: str) -> dict[str, Any]:
    if name in NOISE_CONFIGS:
        return dict(noise=dict(NOISE_CONFIGS[name]), **PUBLISHED_PLACES.get(name, {}))
    cls = MODELS.get(name)
    if isinstance(cls, type) and issubclass(cls, Noise):
        return dict(noise=dict(type=name))
    raise InputError(
        f'unknown noise {name}{did_you_mean(name, NOISE_CONFIGS) or "."} Choices: {", ".join(NOISE_CONFIGS)}; or a '
        "subclass of Noise of your own, registered in mmdet's MODELS and imported by custom_imports of the config"
    )

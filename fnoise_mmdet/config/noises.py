"""Noises by the names that users type."""

from typing import Any

from mmdet.registry import MODELS

from ..errors import InputError, did_you_mean
from ..noise import NOISES, PRESETS, Noise

# Values of ``--fnoise`` and the configs of their noises.
NOISE_CONFIGS: dict[str, dict[str, Any]] = {
    **{preset: dict(type='FeatureNoise', preset=preset) for preset in PRESETS},
    **{noise.__name__: dict(type=noise.__name__) for noise in NOISES if noise.__name__ != 'FeatureNoise'},
}
# Noises that were published for another place than all levels before the neck.
PUBLISHED_PLACES: dict[str, dict[str, Any]] = {
    'mean_normal': dict(levels=[-1]),
    'uniform_20': dict(position='post'),
}


def noise_settings(name: str) -> dict[str, Any]:
    """Return the arguments of :func:`.add_fnoise` for a noise: its config, and its published place.

    Args:
        name: A key of :data:`NOISE_CONFIGS`, or the name of a subclass of
            :class:`~fnoise_mmdet.Noise` that is registered in mmdet's ``MODELS``.

    Raises:
        InputError: If there is no such noise; the message suggests the closest one.
    """
    if name in NOISE_CONFIGS:
        return dict(noise=dict(NOISE_CONFIGS[name]), **PUBLISHED_PLACES.get(name, {}))
    cls = MODELS.get(name)
    if isinstance(cls, type) and issubclass(cls, Noise):
        return dict(noise=dict(type=name))
    raise InputError(
        f'unknown noise {name}{did_you_mean(name, NOISE_CONFIGS) or "."} Choices: {", ".join(NOISE_CONFIGS)}; or a '
        "subclass of Noise of your own, registered in mmdet's MODELS and imported by custom_imports of the config"
    )

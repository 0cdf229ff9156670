"""Perturbation of features by the hardware on which a model is deployed: number formats and analog noise."""

from typing import Any

import torch
from torch import Tensor

from ..choices import ANALOG_SCALES
from ..noise import FeatureNoise, Noise
from ..noise.rounding import FORMATS, round_features

# Gaussian noise of analog hardware, by what its standard deviation is proportional to: the root mean square of the
# level of an image (additive), or each element (multiplicative).
ANALOG = dict(additive='sample', multiplicative='element')


class Rounding(Noise):
    """Round features to a number format.

    Args:
        name: One of :data:`~fnoise_mmdet.noise.rounding.FORMATS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def sample(self, x: Tensor, generator: torch.Generator) -> Any:
        """Return None: rounding draws nothing."""
        return None

    def apply_sample(self, x: Tensor, sample: Any) -> Tensor:
        """Round ``x``."""
        return round_features(x, self.name)


def deployment_plan() -> list[tuple[str, float | None]]:
    """Return name and scale of every perturbation, None for formats."""
    return [*((name, None) for name in FORMATS), *((name, scale) for name in ANALOG for scale in ANALOG_SCALES)]


def deployment_noise(name: str, scale: float | None) -> Noise:
    """Return the perturbation of a name and scale."""
    if name in FORMATS:
        return Rounding(name)
    return FeatureNoise(magnitude=ANALOG[name], distribution='normal', share='none', scale=scale)

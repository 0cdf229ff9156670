"""The mathematics of feature noise: torch alone, nothing of mmdet."""

from .feature_noise import PRESETS, FeatureNoise, Preset
from .stream import make_generator

__all__ = ['PRESETS', 'FeatureNoise', 'Preset', 'make_generator']

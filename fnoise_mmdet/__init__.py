"""F-Noise (feature noise) for MMDetection."""

from .evaluation import CompleteCocoMetric
from .hooks import EpochLossHook, FeatureMapHook
from .necks import FNoiseNeck
from .noise import FeatureNoise
from .version import __version__

__all__ = ['CompleteCocoMetric', 'EpochLossHook', 'FNoiseNeck', 'FeatureMapHook', 'FeatureNoise', '__version__']

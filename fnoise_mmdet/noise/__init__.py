"""Feature noise and related perturbations in PyTorch, with Numba and Triton kernels; independent of mmdet."""

from .adversarial import AdversarialNoise
from .base import Noise
from .dropping import ChannelDropout, FDrop, FeatureDropBlock
from .feature_noise import PRESETS, AntitheticNoise, FeatureNoise
from .schedule import SCHEDULES, schedule_factor
from .statistics import DSU, MixStyle, NormalizationPerturbation
from .stream import make_generator

NOISES = (
    FeatureNoise,
    AntitheticNoise,
    AdversarialNoise,
    FDrop,
    FeatureDropBlock,
    ChannelDropout,
    NormalizationPerturbation,
    DSU,
    MixStyle,
)

__all__ = [
    'DSU',
    'NOISES',
    'PRESETS',
    'SCHEDULES',
    'AdversarialNoise',
    'AntitheticNoise',
    'ChannelDropout',
    'FDrop',
    'FeatureDropBlock',
    'FeatureNoise',
    'MixStyle',
    'Noise',
    'NormalizationPerturbation',
    'make_generator',
    'schedule_factor',
]

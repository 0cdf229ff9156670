"""F-Noise (feature noise) for MMDetection."""

import importlib.util

from .engine.caches import provide_caches

provide_caches()  # before importing packages that need them

from .engine.torchvision_operators import declare_operators

declare_operators()  # before torchvision is imported

# Otherwise the error is raised deep inside mmdet, without a hint at the remedy.
if importlib.util.find_spec('mmcv._ext') is None:
    raise ImportError(
        'mmcv was installed without its compiled operators (mmcv._ext), probably because torch was missing when it '
        'was built: install torch, setuptools, wheel, ninja and psutil, then rebuild it with '
        '`pip install --no-cache-dir --force-reinstall --no-deps --no-build-isolation onedl-mmcv` '
        '(or mmcv==2.1.0, depending on your installation)'
    )

from .config import add_fnoise, make_semi
from .engine.hooks import (
    CorruptImageHook,
    EpochLossHook,
    ExactResumeHook,
    FeatureMapHook,
    FiniteLossHook,
    GracefulStopHook,
    MeanTeacherMetricsHook,
    NoiseScheduleHook,
    RunRecordHook,
    SafeCheckpointHook,
    SNRHook,
    TrainingAPHook,
    ValidationLossHook,
)
from .engine.mixed_precision import CPUAmpOptimWrapper
from .evaluation import CompleteCocoMetric
from .models.backbones import FNoiseBackbone, TIMMBackbone
from .models.detectors import FNoiseTeacher, MaskSoftTeacher
from .models.necks import FNoiseNeck
from .models.roi_extractors import FastRoIExtractor
from .noise import FeatureNoise, Noise
from .noise.feature_noise import feature_noise
from .version import __version__
from .visualization.vis_backend import AtomicLocalVisBackend

__all__ = [
    'AtomicLocalVisBackend',
    'CPUAmpOptimWrapper',
    'CompleteCocoMetric',
    'CorruptImageHook',
    'EpochLossHook',
    'ExactResumeHook',
    'FNoiseBackbone',
    'FNoiseNeck',
    'FNoiseTeacher',
    'FastRoIExtractor',
    'FeatureMapHook',
    'FeatureNoise',
    'FiniteLossHook',
    'GracefulStopHook',
    'MaskSoftTeacher',
    'MeanTeacherMetricsHook',
    'Noise',
    'NoiseScheduleHook',
    'RunRecordHook',
    'SNRHook',
    'SafeCheckpointHook',
    'TIMMBackbone',
    'TrainingAPHook',
    'ValidationLossHook',
    '__version__',
    'add_fnoise',
    'feature_noise',
    'make_semi',
]

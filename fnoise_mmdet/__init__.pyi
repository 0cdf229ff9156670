# Public names and where they are. They are imported when they are first used, or when mmdet looks for them.
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
    ProgressHook,
    RunRecordHook,
    SafeCheckpointHook,
    SNRHook,
    TrainingAPHook,
    ValidationLossHook,
)
from .engine.mixed_precision import CPUAmpOptimWrapper
from .evaluation import CompleteCocoMetric
from .models.backbones import FNoiseBackbone, TIMMBackbone
from .models.detectors import FNoiseDetector, FNoiseTeacher, MaskSoftTeacher
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
    'FNoiseDetector',
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
    'ProgressHook',
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

"""Hooks for mmengine's runner."""

from .epoch_loss import EpochLossHook
from .feature_maps import FeatureMapHook
from .missed_validation import MissedValidationHook
from .noise_schedule import NoiseScheduleHook
from .run_record import RunRecordHook
from .snr import SNRHook
from .validation_loss import ValidationLossHook

__all__ = [
    'EpochLossHook',
    'FeatureMapHook',
    'MissedValidationHook',
    'NoiseScheduleHook',
    'RunRecordHook',
    'SNRHook',
    'ValidationLossHook',
]

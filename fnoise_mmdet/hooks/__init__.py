"""Hooks for mmengine's runner."""

from .epoch_loss import EpochLossHook
from .feature_maps import FeatureMapHook
from .noise_schedule import NoiseScheduleHook
from .snr import SNRHook

__all__ = ['EpochLossHook', 'FeatureMapHook', 'NoiseScheduleHook', 'SNRHook']

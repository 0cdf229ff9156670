"""Hooks for mmengine's runner."""

from .epoch_loss import EpochLossHook
from .feature_maps import FeatureMapHook

__all__ = ['EpochLossHook', 'FeatureMapHook']

"""From tensors to pictures: pure functions, no hook, nothing of mmdet."""

from .panel import REDUCTIONS, FeatureMap, feature_panel, snr_db

__all__ = ['REDUCTIONS', 'FeatureMap', 'feature_panel', 'snr_db']

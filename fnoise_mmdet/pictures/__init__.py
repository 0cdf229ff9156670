"""From tensors to pictures: pure functions, no hook, nothing of mmdet."""

from .detections import Detection, detections_panel
from .panel import REDUCTIONS, FeatureMap, feature_panel, snr_db

__all__ = ['REDUCTIONS', 'Detection', 'FeatureMap', 'detections_panel', 'feature_panel', 'snr_db']

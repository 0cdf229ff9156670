"""Visualization of feature maps and detections."""

from .density import density_panel
from .detections import Detection, detections_panel
from .maps import FeatureMap, save_arrays, snr_db, without_padding
from .outcomes import IOU_THR, annotated_objects, corners, f1_score, mark_outcomes
from .panel import SCORE_THR, Boxes, Sweep, feature_panel, sweep_panel
from .reductions import check_reduction, choose_reduction
from .sequence import find_frames, write_gif
from .spread import Spread, spread_columns, spread_of

__all__ = [
    'IOU_THR',
    'SCORE_THR',
    'Boxes',
    'Detection',
    'FeatureMap',
    'Spread',
    'Sweep',
    'annotated_objects',
    'check_reduction',
    'choose_reduction',
    'corners',
    'density_panel',
    'detections_panel',
    'f1_score',
    'feature_panel',
    'find_frames',
    'mark_outcomes',
    'save_arrays',
    'snr_db',
    'spread_columns',
    'spread_of',
    'sweep_panel',
    'without_padding',
    'write_gif',
]

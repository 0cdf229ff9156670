"""Hooks for mmengine's runner."""

from .corrupt_image import CorruptImageHook
from .epoch_loss import EpochLossHook
from .exact_resume import ExactResumeHook
from .feature_maps import FeatureMapHook
from .finite_loss import FiniteLossHook
from .graceful_stop import GracefulStopHook
from .mean_teacher_metrics import MeanTeacherMetricsHook
from .missed_validation import MissedValidationHook
from .noise_schedule import NoiseScheduleHook
from .own_checkpoints import OwnCheckpointsHook
from .progress import ProgressHook
from .run_record import RunRecordHook
from .safe_checkpoint import SafeCheckpointHook
from .snr import SNRHook
from .training_ap import TrainingAPHook
from .validation_loss import ValidationLossHook

__all__ = [
    'CorruptImageHook',
    'EpochLossHook',
    'ExactResumeHook',
    'FeatureMapHook',
    'FiniteLossHook',
    'GracefulStopHook',
    'MeanTeacherMetricsHook',
    'MissedValidationHook',
    'NoiseScheduleHook',
    'OwnCheckpointsHook',
    'ProgressHook',
    'RunRecordHook',
    'SNRHook',
    'SafeCheckpointHook',
    'TrainingAPHook',
    'ValidationLossHook',
]

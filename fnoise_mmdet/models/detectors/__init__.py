"""Semi-supervised detectors, and detectors with noise at any place."""

from .fnoise_detector import FNoiseDetector
from .fnoise_teacher import FNoiseTeacher
from .mask_soft_teacher import MaskSoftTeacher

__all__ = ['FNoiseDetector', 'FNoiseTeacher', 'MaskSoftTeacher']

"""Semi-supervised detectors."""

from .fnoise_teacher import FNoiseTeacher
from .mask_soft_teacher import MaskSoftTeacher

__all__ = ['FNoiseTeacher', 'MaskSoftTeacher']

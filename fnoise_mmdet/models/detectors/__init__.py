"""Semi-supervised detectors."""

from .fnoise_teacher import FNoiseTeacher

__all__ = ['FNoiseTeacher']

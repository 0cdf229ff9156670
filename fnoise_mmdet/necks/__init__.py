"""Wrappers that put noise around a detector's neck."""

from .fnoise_neck import FNoiseNeck

__all__ = ['FNoiseNeck']

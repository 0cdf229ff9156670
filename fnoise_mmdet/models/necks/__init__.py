"""Neck wrapper with feature noise."""

from .fnoise_neck import FNoiseNeck

__all__ = ['FNoiseNeck']

"""Neck wrapper with feature noise."""

from .fnoise_neck import FNoiseNeck, find_fnoise_necks

__all__ = ['FNoiseNeck', 'find_fnoise_necks']

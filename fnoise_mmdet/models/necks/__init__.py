"""Wrappers that put noise around a detector's neck."""

from .fnoise_neck import FNoiseNeck, find_fnoise_necks

__all__ = ['FNoiseNeck', 'find_fnoise_necks']

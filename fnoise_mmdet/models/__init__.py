"""Modules of detectors, registered in mmdet's ``MODELS``."""

from . import backbones, detectors, necks, roi_extractors

__all__ = ['backbones', 'detectors', 'necks', 'roi_extractors']

"""Where detectors with two stages read the features of their regions, made fast on a CPU."""

from .fast_roi_extractor import FastRoIExtractor

__all__ = ['FastRoIExtractor']

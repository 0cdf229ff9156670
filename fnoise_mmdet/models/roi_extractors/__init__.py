"""RoI extractor of two-stage detectors with a fast RoIAlign on CPUs."""

from .fast_roi_extractor import FastRoIExtractor

__all__ = ['FastRoIExtractor']

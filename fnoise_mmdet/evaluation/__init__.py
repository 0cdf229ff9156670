"""Metrics, and what is done to images before they are measured."""

from .coco_metric import CompleteCocoMetric
from .corruption import SeededCorrupt

__all__ = ['CompleteCocoMetric', 'SeededCorrupt']

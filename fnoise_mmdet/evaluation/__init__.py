"""Metrics."""

from .coco_metric import CompleteCocoMetric

__all__ = ['CompleteCocoMetric']

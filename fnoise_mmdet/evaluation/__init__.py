"""COCO metrics, image corruptions and robustness evaluation."""

from .coco_metric import CompleteCocoMetric
from .corruption import SeededCorrupt

__all__ = ['CompleteCocoMetric', 'SeededCorrupt']

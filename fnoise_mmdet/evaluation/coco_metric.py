"""COCO's metrics, also when nothing was detected."""

from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from pycocotools import mask as coco_mask


@METRICS.register_module()
class CompleteCocoMetric(CocoMetric):
    """Report every metric in every validation.

    A detector at the start of its training often detects nothing. mmdet's
    ``CocoMetric`` then reports no metric at all: the log has a validation line
    without AP, which mmdet's ``analyze_logs.py`` takes for a training step.
    Here the AP is what COCO's definition gives, 0.

    Args: See :class:`mmdet.evaluation.CocoMetric`.
    """

    def compute_metrics(self, results: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, float]:
        """Compute the metrics from pairs of ground truth and prediction, one an image."""
        if not any(len(prediction['scores']) for _, prediction in results):
            # One detection of no extent matches no object: the AP stays 0, and pycocotools has something to load.
            truth, prediction = results[0]
            no_mask = coco_mask.encode(np.zeros((truth['height'], truth['width']), dtype=np.uint8, order='F'))
            nothing = dict(
                img_id=prediction['img_id'],
                bboxes=np.zeros((1, 4)),
                scores=np.zeros(1),
                labels=np.zeros(1, dtype=int),
                masks=[no_mask],
            )
            results = [(truth, nothing), *results[1:]]
        return super().compute_metrics(results)

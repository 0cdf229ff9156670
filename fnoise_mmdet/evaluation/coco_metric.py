"""COCO metric that handles missing detections, missing objects and arbitrary ids."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask

from ..datasets.ground_truth import prepare_ground_truth
from ..datasets.images import UNREADABLE

MAX_AREA = 1e10  # upper area limit of COCO's evaluation, in square pixels
OBJECTS = 'objects'  # number of annotated objects, reported if the AP is undefined


@METRICS.register_module()
class CompleteCocoMetric(CocoMetric):
    """Report all defined metrics in every validation.

    A detector at the start of its training often has no detections. mmdet's
    ``CocoMetric`` then reports no metric at all, and the validation row without
    AP is taken for a training step by mmdet's ``analyze_logs.py``. Here the AP
    is 0, as defined by COCO.

    Without objects the AP is undefined. mmdet reports -1 for object sizes
    without objects, or for all if nothing is annotated. Here undefined metrics
    are not reported. If nothing is annotated, a warning is logged, and
    ``objects``, 0, is reported instead of the AP, so that ``analyze_logs.py``
    still recognizes the row as a validation.

    Unreadable images are excluded from the evaluation with a warning, see
    :class:`~fnoise_mmdet.CorruptImageHook`.

    Arbitrary annotation ids are supported, see
    :func:`~fnoise_mmdet.datasets.ground_truth.prepare_ground_truth`.

    Args: See :class:`mmdet.evaluation.CocoMetric`.
    """

    skips_unreadable = True  # see CorruptImageHook
    img_ids: Any  # evaluated images, None for all
    _coco_api: Any  # None until the ground truth of the data set has been converted

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._coco_api is not None:
            prepare_ground_truth(self._coco_api)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Store ground truth and predictions of a batch of images."""
        super().process(data_batch, data_samples)
        for (_, prediction), sample in zip(self.results[-len(data_samples) :], data_samples):
            prediction[UNREADABLE] = sample.get(UNREADABLE, False)

    def compute_metrics(self, results: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, float]:
        """Compute the metrics from pairs of ground truth and prediction, one per image."""
        if self._coco_api is None:
            with tempfile.TemporaryDirectory() as folder:
                self._coco_api = COCO(self.gt_to_coco_json([truth for truth, _ in results], str(Path(folder, 'all'))))
            prepare_ground_truth(self._coco_api)
        readable = [pair for pair in results if not pair[1].get(UNREADABLE)]
        if len(readable) == len(results):
            return self._compute(results)
        MMLogger.get_current_instance().warning(
            f'AP is over {len(readable)} of {len(results)} images: {len(results) - len(readable)} cannot be read'
        )
        of_all = self.img_ids
        self.img_ids = [prediction['img_id'] for _, prediction in readable]
        try:
            return self._compute(readable)
        finally:
            self.img_ids = of_all

    def _compute(self, results: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, float]:
        if not self.format_only and not self._objects():
            MMLogger.get_current_instance().warning(
                'AP is undefined and not reported: the images of this evaluation have no annotated object of its '
                'classes (crowds do not count)'
            )
            return {OBJECTS: 0}
        if not any(len(prediction['scores']) for _, prediction in results):
            # An empty box matches no object, so the AP is 0; pycocotools cannot load an empty list.
            truth, prediction = results[0]
            nothing = dict(
                img_id=prediction['img_id'],
                bboxes=np.zeros((1, 4)),
                scores=np.zeros(1),
                labels=np.zeros(1, dtype=int),
            )
            if 'masks' in prediction:  # mmdet expects masks for all images or none
                no_mask = coco_mask.encode(np.zeros((truth['height'], truth['width']), dtype=np.uint8, order='F'))
                nothing['masks'] = [no_mask]
            results = [(truth, nothing), *results[1:]]
        # Undefined values are -1 in COCO's metrics, and NaN in mmdet's per-class table.
        return {name: value for name, value in super().compute_metrics(results).items() if value >= 0}

    def _objects(self) -> int:
        """Return the number of annotated objects in the evaluation."""
        classes = set(self._coco_api.get_cat_ids(cat_names=self.dataset_meta['classes']))
        images = set(self._coco_api.get_img_ids() if self.img_ids is None else self.img_ids)
        return sum(
            annotation['category_id'] in classes
            and annotation['image_id'] in images
            and not annotation['iscrowd']
            and 0 <= annotation['area'] <= MAX_AREA
            for annotation in self._coco_api.dataset['annotations']
        )

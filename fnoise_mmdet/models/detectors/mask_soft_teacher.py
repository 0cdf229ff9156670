"""SoftTeacher with instance masks."""

import copy
from typing import Any

from mmdet.models.detectors import SoftTeacher
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from .pseudo_masks import bitmap_masks, project_masks, view_homography


@MODELS.register_module()
class MaskSoftTeacher(SoftTeacher):
    """mmdet's ``SoftTeacher``, also for detectors with a mask head.

    mmdet's own projects boxes only, so that a detector with masks fails. Here
    the teacher's masks are the targets of the mask loss, for the boxes that
    ``SoftTeacher`` takes for the box loss.

    Source: Xu et al., "End-to-End Semi-Supervised Object Detection with Soft
    Teacher", ICCV 2021, arXiv 2106.09018, which trains boxes.

    Args: See :class:`mmdet.models.SoftTeacher`.
    """

    def get_pseudo_instances(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> tuple[SampleList, dict[str, Any] | None]:
        """Return the samples with the teacher's detections, whose masks are in the coordinates of its view."""
        samples, info = super().get_pseudo_instances(batch_inputs, batch_data_samples)
        for sample in samples:
            if 'masks' in sample.gt_instances:
                sample.gt_instances.masks = bitmap_masks(sample.gt_instances.masks, sample.img_shape)
        return samples, info

    def project_pseudo_instances(
        self, batch_pseudo_instances: SampleList, batch_data_samples: SampleList
    ) -> SampleList:
        """Return the samples of another view with the detections as labels."""
        projected = copy.deepcopy(batch_pseudo_instances)
        for source, target in zip(projected, batch_data_samples):
            if 'masks' in source.gt_instances:
                homography = view_homography(source, target)
                source.gt_instances.masks = project_masks(source.gt_instances.masks, homography, target.img_shape)
        return super().project_pseudo_instances(projected, batch_data_samples)

    def rcnn_reg_loss_by_pseudo_instances(
        self, x: tuple[Tensor], unsup_rpn_results_list: Any, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Return the losses of boxes and masks for labels whose box the teacher is certain of."""
        samples = copy.deepcopy(batch_data_samples)
        for sample in samples:
            certain = sample.gt_instances.reg_uncs < self.semi_train_cfg.reg_pseudo_thr
            sample.gt_instances = sample.gt_instances[certain]
        losses = self.student.roi_head.loss(x, copy.deepcopy(unsup_rpn_results_list), samples)
        return {name: losses[name] for name in ('loss_bbox', 'loss_mask') if name in losses}

    def compute_uncertainty_with_aug(self, x: tuple[Tensor], batch_data_samples: SampleList) -> list[Tensor]:
        """Return the uncertainty of each box, which needs no masks."""
        roi_head = self.teacher.roi_head
        mask_head = roi_head._modules.get('mask_head')
        roi_head._modules['mask_head'] = None
        try:
            found: list[Tensor] = super().compute_uncertainty_with_aug(x, batch_data_samples)
        finally:
            roi_head._modules['mask_head'] = mask_head
        return found

"""Consistency of a two-stage detector's predictions for the same proposals."""

from typing import Any, NamedTuple

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import MultiInstanceRoIHead, StandardRoIHead
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn


class SoftTargets(NamedTuple):
    """Predictions of the teacher for its proposals.

    Args:
        rois: Proposals with the index of their image, (R, 5).
        probabilities: Class probabilities, the last one of the background, (R, C + 1).
        deltas: Box deltas of the most probable class other than the background, (R, 4).
        masks: Mask probabilities of this class for the proposals of `has_mask`, (M, h, w), or None without a mask head.
        has_mask: Proposals whose most probable class is not the background, (R,).
    """

    rois: Tensor
    probabilities: Tensor
    deltas: Tensor
    masks: Tensor | None
    has_mask: Tensor

    @property
    def labels(self) -> Tensor:
        """The most probable class other than the background, (R,)."""
        return self.probabilities[:, :-1].argmax(1)

    @property
    def foreground(self) -> Tensor:
        """Probability of not being background, (R,)."""
        return 1 - self.probabilities[:, -1]


def check_soft_targets(detector: nn.Module) -> None:
    """Check that a detector has what soft targets compare.

    Raises:
        ValueError: If it has not one box head whose classes exclude each other.
    """
    roi_head: Any = getattr(detector, 'roi_head', None)
    name = type(roi_head or detector).__name__
    has_one = isinstance(roi_head, StandardRoIHead) and not isinstance(roi_head, MultiInstanceRoIHead)
    if not (isinstance(detector, TwoStageDetector) and detector.with_rpn and has_one):
        raise ValueError(f"targets='soft' needs a two-stage detector with a StandardRoIHead, but got {name}")
    if not getattr(roi_head.bbox_head, 'with_reg', False):  # such as SABLHead
        head = type(roi_head.bbox_head).__name__
        raise ValueError(f"targets='soft' needs a box head that predicts deltas, but got {name} with {head}")
    if roi_head.bbox_head.custom_cls_channels:
        loss = type(roi_head.bbox_head.loss_cls).__name__
        raise ValueError(f"targets='soft' needs a softmax over the classes, but {loss} has other outputs")


@torch.no_grad()
def predict_soft(teacher: Any, inputs: Tensor, samples: SampleList, proposals: int) -> SoftTargets:
    """Return the predictions of a teacher for its best proposals.

    Args:
        teacher: Detector in evaluation mode.
        inputs: Images, (B, 3, H, W).
        samples: Their samples.
        proposals: Maximum number of proposals per image, the first ones.
    """
    features = teacher.extract_feat(inputs)
    found = teacher.rpn_head.predict(features, samples, rescale=False)
    rois = bbox2roi([one.bboxes[:proposals] for one in found])
    probabilities, deltas = _predict_boxes(teacher.roi_head, features, rois)
    labels = probabilities[:, :-1].argmax(1)
    has_mask = probabilities.argmax(1) < probabilities.shape[1] - 1
    masks = None
    if teacher.roi_head.with_mask:
        masks = _predict_masks(teacher.roi_head, features, rois[has_mask], labels[has_mask])
    return SoftTargets(rois, probabilities, _of_class(deltas, labels, 4), masks, has_mask)


def soft_losses(student: Any, inputs: Tensor, targets: SoftTargets) -> dict[str, Tensor]:
    r"""Return the squared differences of the student's predictions to the targets.

    As CCT (Ouali et al., CVPR 2020, eq. 1 and 2), which compares class
    probabilities of pixels, here for proposals. With the probabilities
    :math:`p_r` and the foreground probability :math:`f_r` of the teacher:

    - ``loss_cls``: :math:`\frac{1}{R} \sum_r \lVert \hat p_r - p_r \rVert^2`;
    - ``loss_bbox``: the squared distance of box deltas, averaged over proposals with weights :math:`f_r`;
    - ``loss_mask``: the mean squared difference of mask probabilities, averaged likewise over proposals of objects.

    Args:
        student: Detector in training mode, whose features are perturbed.
        inputs: Images, (B, 3, H, W).
        targets: Predictions of the teacher for them.
    """
    features = student.extract_feat(inputs)
    probabilities, deltas = _predict_boxes(student.roi_head, features, targets.rois)
    cls = (probabilities - targets.probabilities).square().sum(1)
    bbox = (_of_class(deltas, targets.labels, 4) - targets.deltas).square().sum(1)
    losses = dict(loss_cls=cls.sum() / max(1, len(cls)), loss_bbox=_weighted_mean(bbox, targets.foreground))
    if targets.masks is not None:
        of_objects = targets.has_mask
        masks = _predict_masks(student.roi_head, features, targets.rois[of_objects], targets.labels[of_objects])
        distance = (masks - targets.masks).square().mean((1, 2))
        losses['loss_mask'] = _weighted_mean(distance, targets.foreground[of_objects])
    return losses


def _predict_boxes(roi_head: Any, features: Any, rois: Tensor) -> tuple[Tensor, Tensor]:
    found = roi_head._bbox_forward(features, rois)
    return found['cls_score'].softmax(1), found['bbox_pred']


def _predict_masks(roi_head: Any, features: Any, rois: Tensor, labels: Tensor) -> Tensor:
    logits = roi_head._mask_forward(features, rois)['mask_preds']
    return _of_class(logits, labels, 1)[:, 0].sigmoid()


def _of_class(predictions: Tensor, labels: Tensor, size: int) -> Tensor:
    """Return the channels of a class, where predictions are not the same for all classes."""
    by_class = predictions.unflatten(1, (predictions.shape[1] // size, size))  # also of no predictions
    if by_class.shape[1] == 1:
        return by_class[:, 0]
    return by_class[torch.arange(len(labels), device=labels.device), labels]


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (weights * values).sum() / weights.sum().clamp(min=1e-6)

"""mmdet's RoI extractor with a fast RoIAlign."""

from typing import Any

import torch
from mmdet.models import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor, nn

from .roi_align import FastRoIAlign


@MODELS.register_module()
class FastRoIExtractor(SingleRoIExtractor):
    """mmdet's ``SingleRoIExtractor`` with a multi-threaded ``RoIAlign`` on CPUs.

    On a CPU, mmcv's operator dominates the training step of a small detector.
    On a GPU, or with another RoI layer, this is the ``SingleRoIExtractor``
    itself. It has no parameters, so checkpoints are interchangeable.

    Args:
        channels_last: Whether to return the features in this memory format on
            a CPU, which speeds up convolutions of many small maps. For heads
            that start with convolutions; a linear layer would copy them back.
    """

    def __init__(self, *args: Any, channels_last: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.channels_last = channels_last

    def build_roi_layers(self, layer_cfg: dict[str, Any], featmap_strides: list[int]) -> nn.ModuleList:
        """Build the RoI layer of each level."""
        layer = layer_cfg['type']
        if getattr(layer, '__name__', layer) == 'RoIAlign':
            layer_cfg = {**layer_cfg, 'type': FastRoIAlign}
        return super().build_roi_layers(layer_cfg, featmap_strides)

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Pool the features of each region from the level of its size.

        Shape:
            feats: (B, C, H, W) each. rois: (R, 5). Output: (R, C, h, w).
        """
        pooled: Tensor = super().forward(feats, rois, roi_scale_factor)
        if self.channels_last and pooled.device.type == 'cpu':
            return pooled.contiguous(memory_format=torch.channels_last)
        return pooled

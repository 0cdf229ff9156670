"""mmdet's RoI extractor with a fast RoIAlign."""

from typing import Any

from mmdet.models import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import nn

from .roi_align import FastRoIAlign


@MODELS.register_module()
class FastRoIExtractor(SingleRoIExtractor):
    """mmdet's ``SingleRoIExtractor``, whose ``RoIAlign`` uses all threads of a CPU.

    On a CPU mmcv's operator is the largest part of a small detector's training
    step. On a GPU, and with another RoI layer, this is the ``SingleRoIExtractor``
    itself. It has no parameters: checkpoints go either way.
    """

    def build_roi_layers(self, layer_cfg: dict[str, Any], featmap_strides: list[int]) -> nn.ModuleList:
        """Build the RoI layer of each level."""
        if layer_cfg['type'] == 'RoIAlign':
            layer_cfg = {**layer_cfg, 'type': FastRoIAlign}
        return super().build_roi_layers(layer_cfg, featmap_strides)

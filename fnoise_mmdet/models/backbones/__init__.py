"""Backbones of timm with their pretrained weights, and noise around backbones of other libraries."""

from .fnoise_backbone import FNoiseBackbone
from .timm_backbone import TIMMBackbone
from .timm_weights import load_timm_weights

__all__ = ['FNoiseBackbone', 'TIMMBackbone', 'load_timm_weights']

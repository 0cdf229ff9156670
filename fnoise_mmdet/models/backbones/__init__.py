"""Backbones of timm, and their pretrained weights."""

from .timm_backbone import TIMMBackbone
from .timm_weights import load_timm_weights

__all__ = ['TIMMBackbone', 'load_timm_weights']

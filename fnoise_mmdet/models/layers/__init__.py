"""Layers with feature noise."""

from .noise_layer import NoiseLayer, find_noise_layers

__all__ = ['NoiseLayer', 'find_noise_layers']

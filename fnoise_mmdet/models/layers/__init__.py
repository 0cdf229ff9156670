"""Layers with feature noise."""

from .noise_layer import NoiseLayer, find_noise_layers, run_info
from .output_noise import PLACES, OutputNoise

__all__ = ['PLACES', 'NoiseLayer', 'OutputNoise', 'find_noise_layers', 'run_info']

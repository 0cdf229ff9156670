"""Layers that other modules use."""

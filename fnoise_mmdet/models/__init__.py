"""Modules of detectors, registered in mmdet's ``MODELS``."""

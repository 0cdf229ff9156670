"""Imported first by every tool, before imports that take seconds and print."""

import _streams  # noqa: F401

import fnoise_mmdet  # noqa: F401  # before other packages: it provides their caches

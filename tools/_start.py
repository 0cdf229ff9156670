"""Imported first by every tool, before imports that take seconds and print."""

import _processes
import _streams  # noqa: F401

from collections.abc import Callable

import fnoise_mmdet  # noqa: F401  # before other packages, for which it provides caches
from fnoise_mmdet import cli


def run(main: Callable[[], None]) -> None:
    """Run a command line, see :func:`fnoise_mmdet.cli.run`."""
    _processes.raise_keyboard_interrupt()
    cli.run(main)

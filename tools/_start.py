"""Set-up of a command line, imported by every tool before slow imports."""

import _processes
import _streams  # noqa: F401

import contextlib
import io
import warnings
from collections.abc import Callable

# mmdet reports on the optional packages that it does not find.
with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import fnoise_mmdet  # noqa: F401  # first, since it sets the cache folders of other packages
    from fnoise_mmdet import cli


def run(main: Callable[[], None]) -> None:
    """Run a command line, see :func:`fnoise_mmdet.cli.run`."""
    _processes.raise_keyboard_interrupt()
    cli.run(main)

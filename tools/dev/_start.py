"""Set-up of the development tools, imported before slow modules."""

from fnoise_mmdet.cli import processes, streams

streams.protect()
processes.protect()

from collections.abc import Callable

with streams.quiet_imports():
    from fnoise_mmdet.commands import start


def run(main: Callable[[], None]) -> None:
    """Run a command line, see :func:`fnoise_mmdet.commands.start.run`."""
    processes.raise_keyboard_interrupt()
    start.run(main)

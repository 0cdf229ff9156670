"""Standard streams that accept any text and survive a closed reader."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO


class _Stream:
    """A standard stream that discards output once its reader has closed, as in ``| head``.

    Attributes:
        lost: The error that made output be discarded, e.g. a full disk; None for a closed reader.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        with self._discarding():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._discarding():
            self._stream.flush()

    @contextlib.contextmanager
    def _discarding(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # for subprocesses, too
            if not isinstance(error, BrokenPipeError):
                self.lost = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Discard output and warnings of imports: mmdet lists the optional packages that are missing."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def protect() -> None:
    """Make the standard streams of this process accept any text and survive a closed reader."""
    for number, name in ((1, 'stdout'), (2, 'stderr')):
        stream = getattr(sys, name)
        if stream is None:  # closed at start; reserve its file descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            os.set_inheritable(number, True)
            stream = open(number, 'w', closefd=False)  # noqa: SIM115  # for the whole process
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # for names that are not UTF-8, and limited terminals
        setattr(sys, name, _Stream(stream))

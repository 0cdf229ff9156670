"""Standard streams that accept any text and survive a closed reader."""

import contextlib
import io
import os
import sys
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


for _number, _name in ((1, 'stdout'), (2, 'stderr')):
    _stream = getattr(sys, _name)
    if _stream is None:  # closed at start; reserve its file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), _number)
        os.set_inheritable(_number, True)
        _stream = open(_number, 'w', closefd=False)  # noqa: SIM115  # for the whole process
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors='backslashreplace')  # for names that are not UTF-8, and limited terminals
    setattr(sys, _name, _Stream(_stream))

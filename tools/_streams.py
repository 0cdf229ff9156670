"""Standard output and error of a command line: they take any text, and may be closed while the work goes on."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class _Stream:
    """A standard stream whose reader may leave, as in ``| head``: what is printed then is discarded.

    Attributes:
        lost: The error after which output is discarded where that was not wanted, as on a full disk, else None.
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
    if _stream is None:  # closed from the beginning; its number must not become that of another file
        os.dup2(os.open(os.devnull, os.O_WRONLY), _number)
        os.set_inheritable(_number, True)
        _stream = open(_number, 'w', closefd=False)  # noqa: SIM115  # until the end
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors='backslashreplace')  # names that are not UTF-8, terminals that know less
    setattr(sys, _name, _Stream(_stream))

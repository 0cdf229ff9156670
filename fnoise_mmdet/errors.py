"""Exceptions that the command lines report without a stack trace, and suggestions for their messages."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, choices: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``', did you mean CHOICE?'`` for the choice closest to a word, an empty text if none is close.

    Args:
        word: What was given.
        choices: What there is.
        cutoff: Lowest similarity, from 0 to 1.
    """
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=cutoff)
    return f', did you mean {near[0]}?' if near else ''


class InputError(ValueError):
    """Invalid user input: a path, the content of a file, or a setting.

    The message names the problem, its location and the remedy. The command
    lines print it without a stack trace and exit with status 2.
    """


class ImageError(InputError):
    """Unusable image. Callers with further images skip it."""


class RunError(RuntimeError):
    """Failure during a run, such as a non-finite loss or a full disk.

    The message names the failure, the last good state and how to continue. The
    command lines print it without a stack trace and exit with status 1.
    """

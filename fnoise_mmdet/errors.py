"""Exceptions that the command lines report without a stack trace."""


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

"""The errors that the command lines print without a stack trace."""


class InputError(ValueError):
    """What the user gave cannot be used: a path, a file's content, a setting.

    The message says what is wrong, where, and what would be right. The
    command lines print it without a stack trace and exit with status 2.
    """


class ImageError(InputError):
    """An image cannot be used. Where there are others, these are gone on with."""


class RunError(RuntimeError):
    """A run that began well cannot go on: its loss is not finite, the disk is full.

    The message says what happened, what is safe, and the way on. The command
    lines print it without a stack trace and exit with status 1.
    """

"""The error that stands for a mistake in what the user gave."""


class InputError(ValueError):
    """What the user gave cannot be used: a path, a file's content, a setting.

    The message says what is wrong, where, and what would be right. The
    command lines print it without a stack trace and exit with status 2.
    """

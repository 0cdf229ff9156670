"""Findings of several checks, reported at once."""

from collections.abc import Callable, Iterable

from ...errors import InputError

SEVERAL = 'several problems were found'


def check_all(checks: Iterable[Callable[[], object]]) -> None:
    """Run checks, and report all findings at once.

    A check that fails in another way has found a setting of a type that no
    check expects.

    Raises:
        InputError: If a check fails.
    """
    found: list[str] = []
    for check in checks:
        try:
            check()
        except InputError as error:
            # A check may itself report several findings.
            found += [line.removeprefix('- ') for line in str(error).splitlines() if line != SEVERAL]
        except (OSError, MemoryError):
            raise
        except Exception as error:
            found.append(f'the config cannot be checked: {type(error).__name__}: {error}')
    found = list(dict.fromkeys(found))
    if found:
        raise InputError(found[0] if len(found) == 1 else '\n- '.join([SEVERAL, *found]))


def refuse(message: str) -> None:
    """Be a check that fails with a message."""
    raise InputError(message)

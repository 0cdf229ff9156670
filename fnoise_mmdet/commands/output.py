"""Console output, progress and drawing loops of the commands."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from ..datasets.files import write_atomically
from ..datasets.images import printable
from ..errors import ImageError, InputError
from ..studies.log_lines import LogLines

T = TypeVar('T')


def put_between(path: Path, mark: str, text: str) -> None:
    """Replace the text between the two marker lines of a file.

    Raises:
        InputError: If the file is not found or does not have two markers.
    """
    try:
        before, _, after = path.read_text(encoding='utf-8').split(mark)
    except (OSError, ValueError):
        raise InputError(f'{path} is not a file with two lines {mark!r} around the table') from None
    write_atomically(path, f'{before}{mark}\n{text}\n{mark}{after}'.encode())


def show_progress(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """Iterate over ``items`` with a progress bar, or lines in a log file; give ``total`` if they have no length."""
    if sys.stdout.isatty():
        return track(items, escape(label), total)
    return _logged(items, LogLines(label, len(items) if isinstance(items, Sized) else total or 0))


def _logged(items: Iterable[T], lines: LogLines) -> Iterator[T]:
    for item in items:
        yield item
        lines.advance()
    lines.end()


def terminal() -> Console:
    """Return a console without markup, as names may contain brackets and colons, as wide as tables need in a file."""
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and 'COLUMNS' not in os.environ:
        console.width = 120
    return console


def _failure_of(draw: Callable[[Sequence[Path]], None], images: Sequence[Path]) -> Exception | None:
    """Draw images and return the exception that they cause, if any."""
    try:
        draw(images)
    except ImageError as error:
        return error
    except (OSError, InputError):  # a full disk or an invalid setting
        raise
    except Exception as error:
        return error
    return None


def draw_in_batches(draw: Callable[[Sequence[Path]], None], images: Sequence[Path], batch_size: int = 1) -> int:
    """Draw images in batches, and report and skip those that cannot be drawn.

    Returns:
        The number of images drawn.

    Raises:
        InputError: If none could be drawn.
    """
    drawn, failure = 0, None
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    for batch in show_progress(batches, 'images' if batch_size == 1 else f'batches of {batch_size} images'):
        if not _failure_of(draw, batch):
            drawn += len(batch)
            continue
        for path in batch:
            failure = _failure_of(draw, [path])
            if failure:
                print(f'skipped {printable(str(path))}: {str(failure).strip() or type(failure).__name__}')
            else:
                drawn += 1
    if not drawn:
        raise InputError(
            f'none of the images could be drawn, the last one failed with {type(failure).__name__}: {failure}'
        ) from failure
    return drawn

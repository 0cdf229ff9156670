"""What the command lines under ``tools/`` have in common."""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from rich.progress import track

from .errors import InputError

T = TypeVar('T')

CFG_OPTIONS_HELP = (
    'override settings of the config, as key=value pairs, e.g. model.neck.noise.scale=0.1 '
    'train_cfg.max_epochs=2 "train_dataloader.dataset.pipeline.2.scale=(640,400)"; '
    'quote a value with brackets, and leave out white space'
)
DATA_ROOT_HELP = (
    "folder in COCO layout that every data loader and evaluator reads instead of the config's: "
    'annotations/instances_{train,val,test}.json beside train/, val/, test/, or the layout of COCO 2017'
)


def run(main: Callable[[], None]) -> None:
    """Run a command line: an InputError ends it with its message and status 2, Ctrl-C with status 130."""
    try:
        main()
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def at_least(low: int) -> Callable[[str], int]:
    """Make an argparse type: an integer that is not below ``low``."""

    def parse(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f'must be >= {low}, but got {value}')
        return value

    parse.__name__ = 'int'
    return parse


def show_progress(items: Iterable[T], label: str) -> Iterable[T]:
    """Show a progress bar while going through ``items``."""
    return track(items, label)

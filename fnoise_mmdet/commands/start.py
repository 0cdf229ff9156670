"""Run a command and report errors in one line."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import matplotlib
from mmengine.config import DictAction
from mmengine.dist import is_distributed
from mmengine.fileio import register_backend

from ..cli.options import Pairs
from ..datasets.files import FAILURES, file_error
from ..engine.checkpoint import refuse_code, trust_checkpoints
from ..engine.distributed import is_main_process, rank
from ..engine.hooks.safe_checkpoint import AtomicBackend
from ..errors import InputError, RunError


def read_values(value: Any) -> Any:
    """Convert the ``key=value`` pairs of an argument to settings, with values parsed by mmengine.

    Raises:
        InputError: If a value cannot be read.
    """
    if isinstance(value, Pairs):
        parser = argparse.ArgumentParser(exit_on_error=False)
        parser.add_argument('--pairs', nargs='*', action=DictAction)
        try:
            return parser.parse_args(['--pairs', *value]).pairs
        except (AssertionError, ValueError) as error:
            raise InputError(f'cannot read the values of {" ".join(value)}: {error}') from None
    if isinstance(value, list | tuple):
        return type(value)(map(read_values, value))
    return value


def run_command(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Run a command with its parsed arguments."""

    def run_with_values() -> None:
        for name, value in vars(args).items():
            setattr(args, name, read_values(value))
        if getattr(args, 'trust_checkpoint', False):
            trust_checkpoints()
        main(args)

    run(run_with_values)


def run(main: Callable[[], None]) -> None:
    """Run a command line and report known errors without a stack trace.

    InputError and unusable files or folders exit with status 2, RunError and
    full or faulty disks with status 1, Ctrl-C with status 130.
    """
    # Huge pages save about 5 % of a step, because torch reallocates large tensors in every step. torch reads this
    # variable before its first large allocation.
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    refuse_code()
    # Atomic writes for everything that mmengine, mmcv and mmdet save.
    register_backend('local', AtomicBackend, force=True, prefixes='')
    matplotlib.rcParams['text.parse_math'] = False  # mmdet draws class and file names
    if not is_main_process():
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115  # for the whole process: only rank 0 prints
    try:
        main()
        print(end='', flush=True)
        if lost := getattr(sys.stdout, 'lost', None):  # see cli/streams.py
            raise lost
    except InputError as error:
        # An error of a data loader worker carries its stack trace, with the message at the end.
        _fail(str(error).rpartition(f'{InputError.__module__}.{InputError.__name__}: ')[2], 2)
    except RunError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(file_error(error), 1 if error.errno in FAILURES else 2)
    except MemoryError as error:
        _fail(f'out of memory: {error}'.rstrip(' :'), 1)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)


def _fail(message: str, status: int) -> None:
    place = '' if is_main_process() else f' of process {rank()}'
    print(f'error{place}: {message.strip()}', file=sys.stderr)
    if is_distributed():  # shutting down gloo would wait for dead processes
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)

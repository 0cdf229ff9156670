"""The way of every study, from its checks to its report."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError
from .study import FINISHED, NEW, StudyRun


def print_states(states: Mapping[StudyRun, str]) -> None:
    """Print the planned action for each run."""
    for run, state in states.items():
        will = {NEW: 'will start', FINISHED: 'is finished'}.get(state)
        print(f'{run}: {will or f"will resume from {run.last_checkpoint()}"}')


def log_tail(run: StudyRun, lines: int = 15) -> str:
    """Return the last lines of the output of a failed run."""
    text = run.log.read_text(encoding='utf-8', errors='replace') if run.log.is_file() else ''
    return ''.join(f'| {line}\n' for line in text.splitlines()[-lines:])


def run_compare(tools: Path, out: Path) -> None:
    """Run ``tools/compare.py`` on a study, with the report in ``OUT/report``.

    Raises:
        RunError: If it failed.
    """
    report = out / 'report'
    command = [sys.executable, str(tools / 'compare.py'), str(out), '--out', str(report), '--force']
    status = subprocess.run(command).returncode
    if status:
        raise RunError(f'all trainings are finished, but the report failed with status {status}')
    print(f'report: {report / "report.html"}', flush=True)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise SystemExit on SIGTERM or Ctrl-C, with a hint at how to resume."""
    received: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        received.append(number)
        print('stopping: rerun the same command to resume', file=sys.stderr)
        sys.exit(128 + number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            before[number] = signal.signal(number, stop)
    try:
        yield
    except BaseException:
        if received:  # Ray turns it into SystemExit(1)
            sys.exit(128 + received[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

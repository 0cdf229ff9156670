"""Trainings as processes.

These functions are sent to Ray workers by value and use only the standard
library, so that workers need not import torch and mmdet.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..comparison.runs import is_validation

PATIENCE = 30  # seconds until trainings are killed
POLL = 0.2  # seconds


def end(processes: Sequence['subprocess.Popen[bytes]']) -> None:
    """Stop processes and their workers; kill them after a timeout or a second interrupt."""
    try:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for process in processes:
            process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):  # workers may outlive it, or all may have exited
                os.killpg(process.pid, signal.SIGKILL)
        for process in processes:
            process.wait()


def how_it_ended(status: int) -> str:
    """Return how a failed process ended, as text."""
    return f'was killed by signal {-status}' if status < 0 else f'failed with status {status}'


def run_training(
    script: Sequence[str], work_dir: Path, log: Path, folder: str, threads: int, until: int | None, stop: Path
) -> bool:
    """Run a training to its end, to the validation of an epoch, or until it is asked to stop.

    Args:
        script: Python script and arguments.
        work_dir: Work dir of the training.
        log: File to which the output is appended.
        folder: Current directory of the process.
        threads: Number of threads.
        until: Epoch after whose validation it is stopped, None for none.
        stop: File whose existence requests a stop.

    Returns:
        Whether the training is finished.

    Raises:
        RuntimeError: If it failed; the message says how.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    wait_until_free(work_dir)
    with log.open('ab') as output:
        process = subprocess.Popen(
            [sys.executable, *script],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # Makes cli/processes.py kill the training with this process.
            env={**os.environ, 'OMP_NUM_THREADS': str(threads), 'FNOISE_PARENT': str(os.getpid())},
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            if stop.exists() or (until is not None and last_validation(work_dir) >= until):
                return False
            time.sleep(POLL)
    finally:
        if process.returncode != 0:
            end([process])  # and its remaining workers
    if process.returncode:
        raise RuntimeError(how_it_ended(process.returncode))
    return True


def wait_until_free(work_dir: Path) -> bool:
    """Wait until a stopping training releases a work dir; return whether it has."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with (work_dir / '.lock').open('a') as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(POLL)
    return False


def last_validation(work_dir: Path) -> int:
    """Return the last validated epoch according to the latest log, 0 for none."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    rows = []
    for line in logs[-1].read_text(encoding='utf-8').splitlines() if logs else []:
        with contextlib.suppress(ValueError):  # the last line may be incomplete
            rows.append(json.loads(line))
    return max((row['step'] for row in rows if is_validation(row)), default=0)


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

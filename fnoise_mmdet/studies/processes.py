"""Trainings as processes.

A worker of Ray gets these functions by value, so that it need not import torch
and mmdet: they use Python's standard library only.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..comparison.runs import is_validation

PATIENCE = 30  # seconds that trainings are given to end by themselves
POLL = 0.2  # seconds


def end(processes: Sequence['subprocess.Popen[bytes]']) -> None:
    """End processes and their workers, by force where it takes too long or the user is impatient."""
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
            with contextlib.suppress(ProcessLookupError):  # workers may outlive it, or all may be gone
                os.killpg(process.pid, signal.SIGKILL)
        for process in processes:
            process.wait()


def how_it_ended(status: int) -> str:
    """Say how a process ended that did not end well."""
    return f'was killed by signal {-status}' if status < 0 else f'failed with status {status}'


def run_training(
    script: Sequence[str], work_dir: Path, log: Path, folder: str, threads: int, until: int | None, stop: Path
) -> bool:
    """Run a training to its end, or until it has validated an epoch or is to stop.

    Args:
        script: Python script and arguments.
        work_dir: Its work dir.
        log: What gets all that it prints, behind what is there.
        folder: The folder that it runs in.
        threads: How many threads it computes with.
        until: The epoch after whose validation it is told to stop, None for none.
        stop: A file that says, once it exists, that it is to stop.

    Returns:
        Whether it has come to its end.

    Raises:
        RuntimeError: It ended otherwise; the message says how.
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
            # Which has tools/_processes.py kill the training with this process.
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
            end([process])  # with what it may have left behind
    if process.returncode:
        raise RuntimeError(how_it_ended(process.returncode))
    return True


def wait_until_free(work_dir: Path) -> bool:
    """Wait for a training that is ending to leave a work dir, and tell whether it has."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with (work_dir / '.lock').open('a') as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(POLL)
    return False


def last_validation(work_dir: Path) -> int:
    """Return the last epoch that a training has validated, as its last log says it; 0 for none."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    rows = []
    for line in logs[-1].read_text(encoding='utf-8').splitlines() if logs else []:
        with contextlib.suppress(ValueError):  # the last line may be being written
            rows.append(json.loads(line))
    return max((row['step'] for row in rows if is_validation(row)), default=0)

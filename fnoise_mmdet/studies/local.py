"""Trainings of a study in parallel processes of this machine."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import processes
from .study import StudyRun, training_command


def training_environment(workers: int) -> dict[str, str]:
    """Return the environment of parallel trainings, each with an equal share of the cores.

    A number of threads set by the user is kept, and a single training uses
    torch's default. The share depends on ``workers`` alone, not on the number
    of remaining runs, so a resumed training has the same number of threads and
    is bitwise reproducible.
    """
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    return {**({'OMP_NUM_THREADS': str(share)} if workers > 1 else {}), **os.environ}


@contextlib.contextmanager
def trainings(
    train: Sequence[str], out: Path, workers: int = 1
) -> Iterator[Callable[[StudyRun], subprocess.Popen[bytes]]]:
    """Yield a function that starts or resumes a run; stop running trainings at the end of the block.

    The output of a training is appended to its ``train.log``. Each training has
    its own session, so Ctrl-C reaches only this process, which then stops the
    trainings and their workers. If this process is killed, so are they.
    """
    begun: list[subprocess.Popen[bytes]] = []
    environment = training_environment(workers)

    def begin(run: StudyRun) -> subprocess.Popen[bytes]:
        run.work_dir.mkdir(parents=True, exist_ok=True)
        command = training_command(train, out, run)
        with run.log.open('ab') as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        begun.append(process)
        return process

    try:
        yield begin
    finally:
        processes.end([process for process in begun if process.poll() is None])

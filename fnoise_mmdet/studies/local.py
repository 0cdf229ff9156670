"""Trainings of a study in parallel processes of this machine."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from ..errors import RunError
from . import processes
from .plan import Plan
from .progress import StudyProgress
from .study import StudyRun, failure_message, training_command

POLL = 0.5  # seconds


def training_environment(workers: int) -> dict[str, str]:
    """Return the environment of parallel trainings, each with an equal share of the cores.

    A number of threads set by the user is kept, and a single training uses
    torch's default. The share depends on ``workers`` alone, not on the number
    of remaining runs, so a resumed training has the same number of threads,
    on which the last bit of its sums depends.
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


def run_plan(plan: Plan, configs: Mapping[str, Config], train: Sequence[str], workers: int) -> None:
    """Train all runs of a plan, several in parallel; if one fails, the others are stopped.

    Args:
        plan: Plan without early stopping.
        configs: Config of each condition.
        train: Command of a training, before its arguments.
        workers: Number of parallel trainings.

    Raises:
        RunError: If a training failed.
    """
    todo = [run for run in plan.runs if run not in plan.finished]
    running: dict[StudyRun, subprocess.Popen[bytes]] = {}
    with StudyProgress(todo, configs, workers) as progress, trainings(train, plan.out, workers) as begin:
        while True:
            while len(running) < workers and (job := plan.next()):
                progress.begin(job.run)
                running[job.run] = begin(job.run)
            if not running:
                return
            time.sleep(POLL)
            ended = [run for run, process in running.items() if process.poll() is not None]
            ended.sort(key=lambda run: running[run].returncode != 0)  # a failure ends this loop
            progress.refresh()
            for run in ended:
                status = running.pop(run).returncode
                if status:
                    how = processes.how_it_ended(status)
                    if running:
                        progress.end(run, f'{how}; stopping the other trainings')
                    raise RunError(failure_message({run: how}))
                run.marker.touch()
                progress.finish(run)
                plan.ended(run)

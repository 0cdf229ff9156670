"""The trainings of a sweep as trials of Ray Tune. Only this module needs Ray."""

import logging
import os
import shutil
import socket
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Environment of Ray: no usage statistics, no handling of Ctrl-C, no separate logs, default priority of workers.
os.environ.update(
    RAY_USAGE_STATS_ENABLED='0',
    RAY_AIR_NEW_OUTPUT='0',  # its silent mode still prints failures
    TUNE_DISABLE_SIGINT_HANDLER='1',
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS='1',
    RAY_CHDIR_TO_TRIAL_DIR='0',
    RAY_worker_niceness='0',
)

import ray
from mmengine.config import Config
from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.search import Searcher

from ..comparison import runs as logged_runs
from ..errors import InputError, RunError
from . import processes
from .plan import Job, Plan
from .progress import StudyProgress
from .study import StudyRun, training_command

REFRESH, CONNECTS = 0.5, 10  # seconds


@contextmanager
def connected(address: str | None, cpus: int, gpus: float | None) -> Iterator[tuple[float, int]]:
    """Connect to a Ray cluster, or start a local Ray, which ends with the block.

    Args:
        address: Address of the cluster, None for this machine.
        cpus: CPUs of a trial.
        gpus: GPUs of a trial; None for one if the cluster has any.

    Yields:
        The GPUs of a trial, and the number of parallel trials.

    Raises:
        InputError: If there is no such cluster, or a trial fits on none of its machines.
    """
    quiet: dict[str, Any] = dict(log_to_driver=False, logging_level=logging.CRITICAL)
    alone: dict[str, Any] = dict(
        num_cpus=len(os.sched_getaffinity(0)),
        include_dashboard=False,
        object_store_memory=100 * 2**20,  # unused by trials; Ray's default is a third of the memory
    )
    warnings.filterwarnings('ignore', category=FutureWarning, module='ray')
    host, colon, port = (address or '').rpartition(':')
    try:
        if colon and port.isdigit():  # Ray itself would retry for minutes
            socket.create_connection((host, int(port)), timeout=CONNECTS).close()
        ray.init(address=address or 'local', **quiet, **({} if address else alone))
    except (OSError, ValueError, RuntimeError) as error:
        # Ray sends its token only if told to, but requires one by default.
        token = (
            '; if it requires a token, set RAY_AUTH_MODE=token' if colon and 'RAY_AUTH_MODE' not in os.environ else ''
        )
        raise InputError(f'Ray at {address or "this machine"} cannot be used: {error}{token}') from None
    try:
        machines = [node['Resources'] for node in ray.nodes() if node['Alive']]
        if gpus is None:
            gpus = 1.0 if any(machine.get('GPU') for machine in machines) else 0.0
        places = 0
        for machine in machines:
            fit = machine.get('CPU', 0) // cpus
            places += int(min(fit, machine.get('GPU', 0) // gpus) if gpus else fit)
        if not places:
            has = ', '.join(
                f'{machine.get("CPU", 0):g} CPUs and {machine.get("GPU", 0):g} GPUs' for machine in machines
            )
            raise InputError(f'no machine has the {cpus} CPUs and {gpus:g} GPUs of a trial: Ray found {has}')
        yield gpus, places
    finally:
        ray.shutdown()


class PlanSearcher(Searcher):
    """Search algorithm of Tune that follows a plan: a trial is a run, or its part up to a rung."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.jobs: dict[str, Job] = {}
        self._error: RunError | None = None

    def suggest(self, trial_id: str) -> Any:
        if self._error:
            raise self._error
        job = self.plan.next()
        if job is None:
            return None if self.plan.under_way else Searcher.FINISHED
        self.jobs[trial_id] = job
        return dict(condition=job.run.condition, seed=job.run.seed, work_dir=str(job.run.work_dir), until=job.until)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        try:
            self.plan.ended(self.jobs[trial_id].run, failure='failed' if error else None)
        except RunError as failure:  # Tune would attribute an exception to the trial
            self._error = failure

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a sweep resumes from its work dirs."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class TrialReporter(tune.Callback):
    """Callback that reports the trials."""

    def __init__(self, searcher: PlanSearcher, progress: StudyProgress, retries: int) -> None:
        self.searcher, self.progress, self.retries = searcher, progress, retries
        self._failures: dict[str, int] = {}
        self._refreshed = 0.0

    def _run(self, trial: Any) -> StudyRun:
        return self.searcher.jobs[trial.trial_id].run

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.begin(self._run(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self._refreshed > REFRESH:
            self.progress.refresh()
            self._refreshed = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = self.searcher.jobs[trial.trial_id]
        if job.run.marker.is_file():
            self.progress.finish(job.run)
        else:
            self.progress.end(job.run, f'waits after epoch {job.until} for the other conditions')

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        done = self._failures[trial.trial_id] = self._failures.get(trial.trial_id, 0) + 1
        self.progress.end(self._run(trial), f'{_reason(trial)}; retry {done} of {self.retries}')

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        run = self._run(trial)
        if run in self.progress.running:
            self.progress.end(run, f'{_reason(trial)}, no retries left')


def _reason(trial: Any) -> str:
    """Return the reason for the failure of a trial, in a few words."""
    file = trial.pickled_error_file
    error = cloudpickle.loads(Path(file).read_bytes()) if file and Path(file).is_file() else None
    if isinstance(error, RayActorError):
        return 'lost its worker'
    return str(getattr(error, 'cause', error) or 'failed')


def run_plan(
    plan: Plan,
    configs: Mapping[str, Config],
    train: Sequence[str],
    address: str | None,
    cpus: int,
    gpus: float | None,
    retries: int,
) -> None:
    """Train all runs of a plan, as many in parallel as fit, and leave no training running on exit.

    Args:
        plan: Plan of the study.
        configs: Config of each condition.
        train: Arguments of Python that start a training, before its own.
        address: Address of a Ray cluster, None for this machine.
        cpus: CPUs and threads of a trial.
        gpus: GPUs of a trial; None for one if the cluster has any.
        retries: Number of retries of a failed trial.

    Raises:
        InputError: If there is no such cluster, or a trial fits on none of its machines.
        RunError: If the metric of early stopping is not logged.
    """
    todo = [run for run in plan.runs if run not in plan.finished]
    # Ray has handlers of its own for signals, so ours come after it.
    with connected(address, cpus, gpus) as (gpus, places), processes.stopped_by_signals():
        print(f'Ray runs {places} trials in parallel, each with {cpus} CPUs and {gpus:g} GPUs', flush=True)
        with StudyProgress(todo, configs, places) as progress:
            commands = {str(run.work_dir): training_command(train, plan.out, run, newest=True) for run in todo}
            _run_trials(plan, commands, progress, cpus, gpus, retries)


def _run_trials(
    plan: Plan, commands: Mapping[str, list[str]], progress: StudyProgress, cpus: int, gpus: float, retries: int
) -> None:
    for module in (processes, logged_runs):  # pickled by value, so that Ray workers import neither torch nor mmdet
        cloudpickle.register_pickle_by_value(module)
    folder = os.getcwd()
    storage = plan.out / '.ray'
    stop = storage / 'stop'  # a file, since a Ray worker gets no message once its trial is stopped

    def trial(config: dict[str, Any]) -> dict[str, Any]:
        work_dir = Path(config['work_dir'])
        finished = processes.run_training(
            commands[config['work_dir']], work_dir, work_dir / 'train.log', folder, cpus, config['until'], stop
        )
        if finished:
            (work_dir / 'finished').touch()
        return dict(finished=finished)

    searcher = PlanSearcher(plan)
    shutil.rmtree(storage, ignore_errors=True)  # of a killed sweep
    try:
        tune.run(
            trial,
            name='sweep',
            storage_path=str(storage),
            search_alg=searcher,
            num_samples=-1,
            resources_per_trial=dict(cpu=cpus, gpu=gpus),
            max_failures=retries,
            raise_on_failed_trial=False,
            callbacks=[TrialReporter(searcher, progress, retries)],
            trial_dirname_creator=lambda trial: trial.trial_id,
            verbose=0,
        )
    finally:
        storage.mkdir(exist_ok=True)
        stop.touch()
        for run in plan.under_way:
            if run.work_dir.is_dir() and not processes.wait_until_free(run.work_dir):
                print(f'{run} was asked to stop, but is still running', flush=True)
        ray.shutdown()  # its workers stop the remaining trainings
        shutil.rmtree(storage, ignore_errors=True)

"""A paired study: the same training under several conditions, over several seeds.

``OUT/CONDITION/seed_S`` is the work dir of a run. ``OUT/CONDITION.py`` is the
config that every run of a condition is trained with, so that a study that is
continued is the one that was begun, whatever became of the files it was begun
from.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from mmengine.config import Config

from .analysis.conditions import differences, flatten
from .data.files import write_atomically
from .errors import InputError
from .resume import latest_checkpoint

PATIENCE = 30  # seconds that trainings are given to end by themselves
NEW, BROKEN, FINISHED = 'new', 'broken', 'finished'


class StudyRun(NamedTuple):
    """One training of a study."""

    condition: str
    seed: int
    work_dir: Path

    @property
    def marker(self) -> Path:
        """The empty file that says that the training has ended well."""
        return self.work_dir / 'finished'

    @property
    def log(self) -> Path:
        """What its trainings have printed."""
        return self.work_dir / 'train.log'

    def state(self) -> str:
        """Tell whether the run is ``new``, ``broken`` with a checkpoint to go on from, or ``finished``."""
        if self.marker.is_file():
            return FINISHED
        return BROKEN if self.last_checkpoint() else NEW

    def last_checkpoint(self) -> Path | None:
        """Give the checkpoint to go on from, None where there is none that is whole."""
        return latest_checkpoint(self.work_dir)[0]

    def __str__(self) -> str:
        return f'{self.condition}, seed {self.seed}'


def study_runs(out: Path, conditions: Sequence[str], seeds: Sequence[int]) -> list[StudyRun]:
    """Give the runs of a study, the conditions taking turns, so that a machine that becomes slower hits all alike.

    Raises:
        InputError: A seed occurs twice.
    """
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise InputError(f'seed {twice[0]} is given more than once; runs of one seed would be the same run')
    return [StudyRun(name, seed, out / name / f'seed_{seed}') for seed in seeds for name in conditions]


def check_study(out: Path, configs: Mapping[str, Config]) -> None:
    """Check that a folder is new, empty, or holds a study of the same configs.

    Raises:
        InputError: It is a file, holds something else, or a study of other configs.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f'{out} is a file: name a folder with --out')
    if not out.is_dir() or not any(path.name != '.lock' for path in out.iterdir()):
        return
    if not (out / 'study.json').is_file():
        raise InputError(f'{out} has something in it that is no study, and is left as it is: name another folder')
    conditions = json.loads((out / 'study.json').read_text(encoding='utf-8'))['conditions']
    if conditions != list(configs):
        raise InputError(f'{out} is a study of {" and ".join(conditions)}: name another folder')
    for name, cfg in configs.items():
        path = _config_file(out, name)
        there = flatten(Config.fromfile(path).to_dict())
        here = flatten(Config.fromstring(cfg.pretty_text, '.py').to_dict())
        differing = differences(there, here)
        if differing:
            shown = ', '.join(f'{key} ({old!r} there, {new!r} now)' for key, (old, new) in list(differing.items())[:3])
            more = f' and {len(differing) - 3} more' if len(differing) > 3 else ''
            raise InputError(
                f'{out} is a study of other settings: {name} differs in {shown}{more}. Give the settings that it was '
                f'begun with ({path}), or name another folder'
            )


def _config_file(out: Path, condition: str) -> Path:
    return out / f'{condition}.py'


def write_study(out: Path, configs: Mapping[str, Config], command: Sequence[str]) -> None:
    """Write the configs of a study that begins, and last ``study.json``, which says that they are whole."""
    if (out / 'study.json').is_file():
        return
    for name, cfg in configs.items():
        _config_file(out, name).write_text(cfg.pretty_text, encoding='utf-8')
    content = json.dumps(dict(conditions=list(configs), command=shlex.join(command)), indent=1)
    write_atomically(out / 'study.json', content.encode())


def study_command(work_dir: Path) -> str | None:
    """Give the command that began the study to which a work dir belongs, None where it belongs to none."""
    file = work_dir.absolute().parent.parent / 'study.json'
    if not file.is_file():
        return None
    try:
        command: str = json.loads(file.read_text(encoding='utf-8'))['command']
    except (ValueError, KeyError, TypeError):  # a file of something else
        return None
    return command


def training_command(train: Sequence[str], out: Path, run: StudyRun) -> list[str]:
    """Give the command that begins a run, or goes on with it, ``train`` being that of ``tools/train.py``."""
    checkpoint = run.last_checkpoint()
    return [
        *train,
        str(_config_file(out, run.condition)),
        f'--work-dir={run.work_dir}',
        *([f'--resume={checkpoint}'] if checkpoint else []),
        '--cfg-options',
        f'randomness.seed={run.seed}',
    ]


def training_environment(workers: int) -> dict[str, str]:
    """Give the environment of each of several trainings that run side by side: an equal share of the cores.

    A number of threads that the user has set is left as it is, and a training
    that runs alone takes as many as torch does. The share is that of
    ``workers``, however many are left to run: a training that goes on has the
    threads that it began with, whose sums are the same to the last bit.
    """
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    return {**({'OMP_NUM_THREADS': str(share)} if workers > 1 else {}), **os.environ}


@contextlib.contextmanager
def trainings(
    train: Sequence[str], out: Path, lock: IO[str], workers: int = 1
) -> Iterator[Callable[[StudyRun], subprocess.Popen[bytes]]]:
    """Give what begins a run, or goes on with it; when the block is left, end those that are still running.

    What a training prints is added to its ``train.log``. It has a session of
    its own: Ctrl-C in a terminal reaches this process alone, which then ends
    the trainings with all their workers.
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
                pass_fds=[lock.fileno()],
            )
        begun.append(process)
        return process

    try:
        yield begin
    finally:
        _end([process for process in begun if process.poll() is None])


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes and their workers, by force where it takes too long or the user is impatient."""
    try:
        for process in processes:
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


class TrainingLog:
    """Follows what mmengine prints during a training, for how much of it is done.

    Args:
        path: What the training prints; only what is added from now on counts.
        max_epochs: Length of a training that is counted in epochs.
    """

    EPOCH = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+)/\s*(\d+)\]')
    ITERATION = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/\s*(\d+)\]')
    RESUMED = re.compile(r'resumed epoch: (\d+), iter: (\d+)')

    def __init__(self, path: Path, max_epochs: int | None) -> None:
        self.path, self.max_epochs = path, max_epochs
        self.start = 0.0  # the share that an earlier start has done
        self.done = 0.0
        self._resumed_iteration = 0
        self._position = path.stat().st_size if path.is_file() else 0

    def read(self) -> float:
        """Give the share of the training that is done, from 0 to 1."""
        if not self.path.is_file():
            return self.done
        with self.path.open('rb') as file:
            file.seek(self._position)
            lines = file.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b'\n')]  # the last one may be being written
        self._position += sum(map(len, whole))
        for line in whole:
            text = line.decode('utf-8', 'replace')
            if (found := self.EPOCH.search(text)) and self.max_epochs:
                epoch, step, steps = map(int, found.groups())
                self.done = (epoch - 1 + step / steps) / self.max_epochs
            elif found := self.ITERATION.search(text):
                step, steps = map(int, found.groups())
                self.start, self.done = self._resumed_iteration / steps, step / steps
            elif found := self.RESUMED.search(text):
                self._resumed_iteration = int(found[2])
                if self.max_epochs:
                    self.start = self.done = int(found[1]) / self.max_epochs
        return self.done

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
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ..comparison.conditions import changed_settings, flatten
from ..comparison.study_file import STUDY_FILE, read_study_file
from ..datasets.files import check_writable, is_part, remove_parts, write_atomically
from ..engine.checkpoint import check_resumable, load_checkpoint
from ..engine.preflight import check_model, check_training
from ..engine.resume import latest_checkpoint, locked
from ..errors import InputError, RunError
from . import processes

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
        """Return whether the run is ``new``, ``broken`` with a checkpoint to go on from, or ``finished``."""
        if self.marker.is_file():
            return FINISHED
        return BROKEN if self.last_checkpoint() else NEW

    def last_checkpoint(self) -> Path | None:
        """Return the checkpoint to go on from, None where there is none that is whole."""
        return latest_checkpoint(self.work_dir)[0]

    def __str__(self) -> str:
        return f'{self.condition}, seed {self.seed}'


def study_runs(out: Path, conditions: Sequence[str], seeds: Sequence[int]) -> list[StudyRun]:
    """Return the runs of a study, the conditions taking turns, so that a machine that becomes slower hits all alike.

    Raises:
        InputError: A seed occurs twice.
    """
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise InputError(f'seed {twice[0]} is given more than once; runs of one seed would be the same run')
    return [StudyRun(name, seed, out / name / f'seed_{seed}') for seed in seeds for name in conditions]


def check_study(out: Path, configs: Mapping[str, Config], may_grow: bool = False) -> None:
    """Check that a folder is new, empty, or holds a study of the same configs.

    Args:
        out: The folder.
        configs: The config of each condition.
        may_grow: Whether the study may have other conditions, and get those that it lacks.

    Raises:
        InputError: It is a file, holds something else, or a study of other configs.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f'{out} is a file: name a folder with --out')
    check_writable(out)
    if not out.is_dir():
        return
    if not (out / STUDY_FILE).is_file():
        if all(_is_of_new_study(path, configs) for path in out.iterdir()):
            return
        raise InputError(f'{out} has something in it that is no study, and is left as it is: name another folder')
    conditions = read_study_file(out)['conditions']
    if conditions != list(configs) and not may_grow:
        raise InputError(f'{out} is a study of {" and ".join(conditions)}: name another folder')
    for name, cfg in configs.items():
        if name not in conditions:
            continue
        path = _config_file(out, name)
        there = flatten(Config.fromfile(path).to_dict())
        here = flatten(Config.fromstring(cfg.pretty_text, '.py').to_dict())
        differing = changed_settings(there, here)
        if differing:
            shown = ', '.join(f'{key} ({old!r} there, {new!r} now)' for key, (old, new) in list(differing.items())[:3])
            more = f' and {len(differing) - 3} more' if len(differing) > 3 else ''
            raise InputError(
                f'{out} is a study of other settings: {name} differs in {shown}{more}. Give the settings that it was '
                f'begun with ({path}), or name another folder'
            )


def _is_of_new_study(path: Path, configs: Mapping[str, Config]) -> bool:
    """Return whether :func:`write_study`, which may have been interrupted, would leave a file as it is."""
    if path.name == '.lock' or is_part(path):
        return True
    cfg = configs.get(path.stem) if path.suffix == '.py' else None
    return cfg is not None and path.is_file() and path.read_bytes() == cfg.pretty_text.encode()


def check_configs(out: Path, configs: Mapping[str, Config]) -> None:
    """Check all that every training of a study needs, data that several of them share once.

    Raises:
        InputError: It is not there, or settings cannot be used; the message begins with the condition.
    """
    seen: list[list[Any]] = []
    for name, cfg in configs.items():
        checked = Config(cfg.to_dict(), filename=cfg.filename)
        checked.work_dir, checked.launcher = str(out / name), 'none'  # which holds the work dirs, no checkpoints
        data = [checked.get(key) for key in ('train_dataloader', 'val_dataloader', 'val_evaluator')]
        try:
            check_training(checked, with_data=data not in seen)
            seen.append(data)
        except InputError as error:
            raise InputError(f'{name}: {error}') from None


def check_checkpoints(configs: Mapping[str, Config], runs: Iterable[StudyRun]) -> None:
    """Check the checkpoints that the runs of a study resume from.

    Raises:
        InputError: A training cannot be resumed from one of them.
    """
    for run in runs:
        checkpoint = run.last_checkpoint()
        if checkpoint:
            cfg = configs[run.condition]
            check_resumable(load_checkpoint(str(checkpoint)), str(checkpoint), cfg, check_model(cfg))


def _config_file(out: Path, condition: str) -> Path:
    return out / f'{condition}.py'


def write_study(out: Path, configs: Mapping[str, Config], command: Sequence[str]) -> None:
    """Write the configs of a study that begins or grows, and last ``study.json``, which says that they are whole.

    Conditions that are there are left as they are; the command of one that
    grows is added to those before.
    """
    there: dict[str, Any] = dict(conditions=[], command='')
    if (out / STUDY_FILE).is_file():
        there = read_study_file(out)
    new = [name for name in configs if name not in there['conditions']]
    if not new:
        return
    for name in new:
        write_atomically(_config_file(out, name), configs[name].pretty_text.encode())
    commands = [*there['command'].splitlines(), shlex.join(command)]
    content = dict(conditions=[*there['conditions'], *new], command='\n'.join(commands))
    write_atomically(out / STUDY_FILE, json.dumps(content, indent=1).encode())


@contextlib.contextmanager
def held(out: Path, configs: Mapping[str, Config], runs: Sequence[StudyRun], may_grow: bool = False) -> Iterator[None]:
    """Hold a study while its runs are trained: begin it, or let it grow, and say how much of it is done.

    The arguments are those of :func:`check_study`.

    Raises:
        InputError: Another process holds it, or has begun another study here since the folder was checked.
    """
    with locked(out):
        check_study(out, configs, may_grow)
        remove_parts(out.glob('.*'))
        write_study(out, configs, ['python', *sys.argv])
        finished = sum(run.marker.is_file() for run in runs)  # a state would read the checkpoints once more
        print(f'{len(runs)} runs, {finished} of them finished, in {out}', flush=True)
        yield


def training_command(train: Sequence[str], out: Path, run: StudyRun, newest: bool = False) -> list[str]:
    """Return the command that begins a run, or goes on with it.

    Args:
        train: The command of ``tools/train.py``.
        out: Folder of the study.
        run: The run.
        newest: Whether the training is to find out by itself where it goes on from, each time that it is begun.
    """
    checkpoint = None if newest else run.last_checkpoint()
    resume = '--resume' if newest else f'--resume={checkpoint}'
    return [
        *train,
        str(_config_file(out, run.condition)),
        f'--work-dir={run.work_dir}',
        *([resume] if newest or checkpoint else []),
        '--cfg-options',
        f'randomness.seed={run.seed}',
    ]


def training_environment(workers: int) -> dict[str, str]:
    """Return the environment of each of several trainings that run side by side: an equal share of the cores.

    A number of threads that the user has set is left as it is, and a training
    that runs alone takes as many as torch does. The share is that of
    ``workers``, however many are left to run: a training that goes on has the
    threads that it began with, whose sums are the same to the last bit.
    """
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    return {**({'OMP_NUM_THREADS': str(share)} if workers > 1 else {}), **os.environ}


@contextlib.contextmanager
def trainings(
    train: Sequence[str], out: Path, workers: int = 1
) -> Iterator[Callable[[StudyRun], subprocess.Popen[bytes]]]:
    """Yield what starts a run or resumes it; when the block is left, end those that are still running.

    What a training prints is added to its ``train.log``. It has a session of
    its own: Ctrl-C in a terminal reaches this process alone, which then ends
    the trainings with all their workers. Where this process is killed, so are they.
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
        """Return the share of the training that is done, from 0 to 1."""
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


def print_states(states: Mapping[StudyRun, str]) -> None:
    """Print what would become of each run."""
    for run, state in states.items():
        will = {NEW: 'will begin', FINISHED: 'is finished and kept'}.get(state)
        print(f'{run}: {will or f"will go on from {run.last_checkpoint()}"}')


def log_tail(run: StudyRun, lines: int = 15) -> str:
    """Return the end of what the trainings of a run have printed, as it is shown where one has failed."""
    text = run.log.read_text(encoding='utf-8', errors='replace') if run.log.is_file() else ''
    return ''.join(f'| {line}\n' for line in text.splitlines()[-lines:])


def run_compare(tools: Path, out: Path) -> None:
    """Have ``tools/compare.py`` compare the runs of a study in ``OUT/report``.

    Raises:
        RunError: It could not.
    """
    report = out / 'report'
    command = [sys.executable, str(tools / 'compare.py'), str(out), '--out', str(report), '--force']
    status = subprocess.run(command).returncode
    if status:
        raise RunError(f'the trainings are finished, but the report failed with status {status}')
    print(f'the report is {report / "report.html"}', flush=True)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Leave a block by SystemExit when the process is told to end, and say that this is no loss."""
    received: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        received.append(number)
        print('stopping: the same command goes on from here', file=sys.stderr)
        sys.exit(128 + number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup makes it
            before[number] = signal.signal(number, stop)
    try:
        yield
    except BaseException:
        if received:  # what comes out of Ray for it is SystemExit(1)
            sys.exit(128 + received[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

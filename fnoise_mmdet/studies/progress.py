"""Progress display of a running study."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from ..comparison.numbers import duration
from .log_lines import LogLines
from .study import StudyRun


class TrainingLog:
    """Reads the progress of a training from mmengine's output.

    Args:
        path: Output of the training; only new lines are read.
        max_epochs: Number of epochs, for epoch-based training.
    """

    EPOCH = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+)/\s*(\d+)\]')
    ITERATION = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/\s*(\d+)\]')
    RESUMED = re.compile(r'resumed epoch: (\d+), iter: (\d+)')

    def __init__(self, path: Path, max_epochs: int | None) -> None:
        self.path, self.max_epochs = path, max_epochs
        self.start = 0.0  # fraction done by earlier starts
        self.done = 0.0
        self._resumed_iteration = 0
        self._position = path.stat().st_size if path.is_file() else 0

    def read(self) -> float:
        """Return the finished fraction of the training."""
        if not self.path.is_file():
            return self.done
        with self.path.open('rb') as file:
            file.seek(self._position)
            lines = file.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b'\n')]  # the last line may be incomplete
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


@dataclass
class Training:
    """A started training and its progress."""

    name: str
    log: TrainingLog
    bar: TaskID
    began: float
    seconds: float = 0.0


class StudyProgress:
    """Progress of the trainings of a study: lines, and bars in a terminal.

    Args:
        runs: Unfinished runs.
        configs: Config of each condition.
        workers: Number of parallel trainings.
    """

    def __init__(self, runs: Sequence[StudyRun], configs: Mapping[str, Config], workers: int) -> None:
        self.runs, self.configs, self.workers = list(runs), configs, workers
        self.begun: dict[StudyRun, Training] = {}
        self.running: list[StudyRun] = []
        console = Console()
        self._bars = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn('{task.fields[left]}'),
            console=console,
            disable=not console.is_terminal,
        )
        self._whole = self._bars.add_task('all', total=len(self.runs), left='')
        self._lines = LogLines()

    def __enter__(self) -> 'StudyProgress':
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, run: StudyRun) -> None:
        """Report that a run starts or resumes; call it before."""
        checkpoint = run.last_checkpoint()
        verb = f'resumes from {checkpoint.name}' if checkpoint else 'starts'
        place = list(self.begun).index(run) if run in self.begun else len(self.begun)
        name = f'{place + 1}/{len(self.runs)}  {run}'
        left = self._left()
        print(f'{name}: {verb}{f"; {left}" if left else ""}', flush=True)
        log = TrainingLog(run.log, self.configs[run.condition].train_cfg.get('max_epochs'))
        bar = self._bars.add_task(str(run), total=1, left='')
        self.begun[run] = Training(name, log, bar, time.monotonic())
        self.running.append(run)

    def refresh(self) -> None:
        """Update the progress of the trainings."""
        for run in self.running:
            training = self.begun[run]
            training.seconds = time.monotonic() - training.began
            done = training.log.read()
            self._bars.update(training.bar, completed=done, left=_time_left([training], 1 - done))
        done, left = sum(training.log.done for training in self.begun.values()), self._left()
        self._bars.update(self._whole, completed=done, left=left)
        if self._bars.disable and self.running and self._lines.is_due():
            each = ', '.join(f'{run} {self.begun[run].log.done:.0%}' for run in self.running)
            print(f'{done / len(self.runs):.0%} done: {each}{left and f"; {left}"}', flush=True)

    def finish(self, run: StudyRun) -> None:
        """Report that a run is finished."""
        self.begun[run].log.done = 1.0
        self.end(run, f'finished after {duration(self.begun[run].seconds)}')

    def end(self, run: StudyRun, how: str) -> None:
        """Report that a training has ended, and how."""
        self.running.remove(run)
        self._bars.remove_task(self.begun[run].bar)
        print(f'{self.begun[run].name}: {how}', flush=True)

    def _left(self) -> str:
        """Return the estimated remaining time of the study as text."""
        unfinished = len(self.runs) - len(self.begun) + len(self.running)
        begun = list(self.begun.values())
        still = len(self.runs) - sum(training.log.done for training in begun)
        return _time_left(begun, still / max(1, min(self.workers, unfinished)))


def _time_left(trainings: Sequence[Training], still: float) -> str:
    """Return the estimated time for a number of remaining runs as text."""
    done = sum(training.log.done - training.log.start for training in trainings)
    return f'{duration(sum(training.seconds for training in trainings) / done * still)} left' if done > 0 else ''

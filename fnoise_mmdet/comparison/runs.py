"""Reading what a training has logged and recorded."""

import json
import math
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import InputError
from .robustness import Robustness, read_robustness

Row = dict[str, Any]


class Run(NamedTuple):
    """What a training has logged.

    ``train`` has a row a logged training iteration, in order, ``val`` a row a
    validation, ``epochs`` a row an epoch with the means of its losses, where
    :class:`~fnoise_mmdet.engine.hooks.EpochLossHook` was on. ``step`` of a row is its
    iteration, or epoch, from 1. ``record`` is what
    :class:`~fnoise_mmdet.engine.hooks.RunRecordHook` has left, empty without it;
    ``notes`` say what was odd in the files; ``robustness`` is what
    ``tools/robustness.py`` has found of its checkpoint.
    """

    name: str
    train: list[Row]
    val: list[Row]
    epochs: list[Row]
    work_dir: Path | None = None
    record: Mapping[str, Any] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    robustness: Robustness | None = None

    @property
    def seed(self) -> int | None:
        """The seed, as recorded, or as the name of the work dir says it (``seed_3``)."""
        if 'seed' in self.record:
            return int(self.record['seed'])
        named = re.search(r'seed_?(\d+)$', self.work_dir.name if self.work_dir else '')
        return int(named.group(1)) if named else None

    def losses(self) -> list[str]:
        """Return the names of the losses, the total first."""
        names = [name for name in self.train[0] if 'loss' in name]
        return sorted(names, key=lambda name: (name != 'loss', names.index(name)))

    def last_epoch_loss(self, loss: str) -> float | None:
        """Return the mean of a loss over the last epoch: as logged for whole epochs, else that of the logged rows."""
        if self.epochs:
            return self.epochs[-1].get(f'epoch/mean_{loss}')
        values = [row[loss] for row in self.train if row.get('epoch') == self.train[-1].get('epoch') and loss in row]
        return statistics.fmean(values) if values else None

    def seconds_per_iteration(self) -> float | None:
        """Return the median time of a training iteration, the first row with its warm-up left out."""
        times = [row['time'] for row in self.train if 'time' in row]
        return statistics.median(times[1:] or times) if times else None

    def memory_mib(self) -> float | None:
        """Return the peak of the memory in MiB: the GPU's as logged, else the process' as recorded."""
        logged = [row['memory'] for row in self.train if 'memory' in row]
        return max(logged) if logged else self.record.get('memory_mib')

    def diverged(self) -> str | None:
        """Say where a loss is first NaN or Inf, None where all are finite."""
        for row in self.train:
            broken = [name for name in self.losses() if not math.isfinite(row.get(name, 0.0))]
            if broken:
                return f'{", ".join(broken)} not finite from iteration {row["step"]} on'
        return None

    def predictions(self, kind: str) -> Path | None:
        """Return the file with the detections of the last validation, ``kind`` being bbox or segm."""
        files = sorted((self.work_dir / 'predictions').glob(f'*.{kind}.json')) if self.work_dir else []
        return files[-1] if files else None


def _read_rows(path: Path, notes: list[str]) -> list[Row]:
    lines = path.read_text(encoding='utf-8').splitlines()
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):  # a killed run leaves half a line
                notes.append(f'the last line of {path} is cut off and is left out')
                break
            raise InputError(f'{path} is not a log of scalars: line {number} is not JSON') from None
        if not isinstance(row, dict):
            raise InputError(f'{path} is not a log of scalars: line {number} is not a JSON object')
        rows.append(row)
    return rows


def _find_logs(path: Path) -> list[Path]:
    """Return the logs of a run, one for each time that it was started, oldest first."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f'run {path} is neither a work dir nor a scalars.json')
    # mmengine names a start's folder by its time: YYYYmmdd_HHMMSS. A test in the same work dir logs no scalars.
    logs = sorted(path.glob('*/vis_data/scalars.json')) or sorted(path.glob('vis_data/scalars.json'))
    if not logs:
        raise InputError(f'work dir {path} has no */vis_data/scalars.json: was anything trained there?')
    return logs


def read_run(path: Path, name: str | None = None) -> Run:
    """Read the log of a run, resumed or not.

    A resumed run has one log for each start; where they overlap, the later
    one counts.

    Args:
        path: Work dir, or a ``scalars.json``.
        name: Name to show. Defaults to that of the work dir.

    Raises:
        InputError: There is no log, it is torn in its middle, or has no training iteration.
    """
    train: dict[int, Row] = {}
    val: dict[int, Row] = {}
    epochs: dict[int, Row] = {}
    notes: list[str] = []
    for log in _find_logs(path):
        rows = _read_rows(log, notes)
        started = [row['step'] for row in rows if 'loss' in row]
        if started:
            train = {step: row for step, row in train.items() if step < started[0]}
            # The rows of validations and epochs carry their epoch as step, training rows both.
            kept = {row['epoch'] for row in train.values() if 'epoch' in row}
            val = {step: row for step, row in val.items() if step in kept}
            epochs = {step: row for step, row in epochs.items() if step in kept}
        train |= {row['step']: row for row in rows if 'loss' in row}
        val |= {row['step']: row for row in rows if is_validation(row)}
        epochs |= {row['step']: row for row in rows if 'epoch/mean_loss' in row}
    if not train:
        raise InputError(f'run {path} has logged no training iteration')
    if name is None:
        name = path.name if path.is_dir() else path.stem
    work_dir = path if path.is_dir() else None
    in_order = [[rows[step] for step in sorted(rows)] for rows in (train, val, epochs)]
    return Run(
        name,
        *(in_order[0], in_order[1], in_order[2]),
        work_dir=work_dir,
        record=_read_record(work_dir),
        notes=tuple(notes),
        robustness=read_robustness(work_dir) if work_dir else None,
    )


def _read_record(work_dir: Path | None) -> dict[str, Any]:
    file = work_dir / 'run.json' if work_dir else None
    if file is None or not file.is_file():
        return {}
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding='utf-8'))
    except ValueError as error:
        raise InputError(f'{file} is not the record of a run: {error}') from None
    return record


def is_validation(row: dict[str, Any]) -> bool:
    """Whether a row of a log of scalars is a validation's: it has no loss, but metrics (``prefix/metric``) or a time.

    mmdet's ``CocoMetric`` reports no metric where nothing was detected.
    """
    return 'loss' not in row and any(key == 'time' or ('/' in key and not key.startswith('epoch/')) for key in row)


def is_run(path: Path) -> bool:
    """Return whether a path is a work dir with a log, or a log."""
    if path.is_file():
        return path.suffix == '.json'
    return any(path.glob('*/vis_data/scalars.json')) or (path / 'vis_data' / 'scalars.json').is_file()

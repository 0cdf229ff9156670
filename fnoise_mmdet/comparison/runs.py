"""Logs and records of a training run."""

import json
import math
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..datasets.files import is_number, read_json, require
from ..errors import InputError
from .robustness import Robustness, read_robustness

Row = dict[str, Any]
# Prefixes of the losses of mmdet's semi-supervised detectors and of FNoiseTeacher, and the images they are of.
STREAMS = dict(sup='labelled images', feature='unlabelled images', unsup='unlabelled images, strong view')


class Run(NamedTuple):
    """Logs and records of one training.

    ``train`` has one row per logged iteration, ``val`` one row per validation,
    ``epochs`` one row per epoch with the mean losses, if
    :class:`~fnoise_mmdet.engine.hooks.EpochLossHook` was enabled. ``step`` of a row is its
    iteration or epoch, from 1; in iteration-based training validations have the iteration,
    and there are no ``epochs``. ``record`` is the file of
    :class:`~fnoise_mmdet.engine.hooks.RunRecordHook`, empty without it;
    ``notes`` are remarks on the files; ``robustness`` is the result of
    ``tools/robustness.py`` for its checkpoint.
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
        """The recorded seed, or that in the name of the work dir (``seed_3``)."""
        if 'seed' in self.record:
            return int(self.record['seed'])
        named = re.search(r'seed_?(\d+)$', self.work_dir.name if self.work_dir else '')
        return int(named.group(1)) if named else None

    @property
    def by_epoch(self) -> bool:
        """Whether the training is epoch-based, not iteration-based."""
        return 'epoch' in self.train[-1]

    def losses(self) -> list[str]:
        """Return the names of the losses, the total first."""
        names = [name for name in self.train[0] if 'loss' in name]
        return sorted(names, key=lambda name: (name != 'loss', names.index(name)))

    def last_epoch_loss(self, loss: str) -> float | None:
        """Return the mean of a loss over the last epoch: the logged epoch mean, else the mean of the logged rows.

        Without epochs it is the mean since the validation before the last one.
        """
        if self.epochs:
            return self.epochs[-1].get(f'epoch/mean_{loss}')
        if self.by_epoch:
            last = [row for row in self.train if row['epoch'] == self.train[-1]['epoch']]
        else:
            begin = self.val[-2]['step'] if len(self.val) > 1 else 0
            last = [row for row in self.train if row['step'] > begin]
        values = [row[loss] for row in last if loss in row]
        return statistics.fmean(values) if values else None

    def seconds_per_iteration(self) -> float | None:
        """Return the median time per training iteration, without the first row (warm-up)."""
        times = [row['time'] for row in self.train if 'time' in row]
        return statistics.median(times[1:] or times) if times else None

    def memory_mib(self) -> float | None:
        """Return the peak memory in MiB: that of the GPU from the log, else that of the process from the record."""
        logged = [row['memory'] for row in self.train if 'memory' in row]
        return max(logged) if logged else self.record.get('memory_mib')

    def diverged(self) -> str | None:
        """Return a text on the first NaN or Inf loss, None if all are finite."""
        for row in self.train:
            broken = [name for name in self.losses() if not math.isfinite(row.get(name, 0.0))]
            if broken:
                return f'{", ".join(broken)} not finite from iteration {row["step"]} on'
        return None

    def predictions(self, kind: str) -> Path | None:
        """Return the file with the detections of the last validation, of kind bbox or segm."""
        files = sorted((self.work_dir / 'predictions').glob(f'*.{kind}.json')) if self.work_dir else []
        return files[-1] if files else None


def _read_rows(path: Path, notes: list[str]) -> list[Row]:
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except ValueError as error:
        raise InputError(f'{path} is not a log of scalars: {error}') from None
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):  # a killed run may leave half a line
                notes.append(f'the last line of {path} is truncated and was skipped')
                break
            raise InputError(f'{path} is not a log of scalars: line {number} is not JSON') from None
        if not isinstance(row, dict):
            raise InputError(f'{path} is not a log of scalars: line {number} is not a JSON object')
        for key, value in row.items():
            if not (type(value) is int if key in ('step', 'epoch') else is_number(value) or 'loss' not in key):
                raise InputError(f'{path} is not a log of scalars: {key} of line {number} is not a number')
        if 'step' not in row:
            raise InputError(f'{path} is not a log of scalars: line {number} has no step')
        rows.append({key: value for key, value in row.items() if is_number(value)})
    return rows


def _count_iterations(rows: list[Row]) -> list[Row]:
    """Return the rows of an iteration-based training, with the iteration as the step of each validation.

    mmengine logs the epoch as the step there, which is always 0.
    """
    counted: list[Row] = []
    iteration = 0
    for row in rows:
        if 'loss' in row:
            iteration = row['step']
        counted.append(row if 'loss' in row else row | dict(step=iteration))
    return [row for row in counted if 'epoch/mean_loss' not in row]


def _find_logs(path: Path) -> list[Path]:
    """Return the logs of a run, one per start, oldest first."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f'run {path} is neither a work dir nor a scalars.json')
    # mmengine names the folder of each start YYYYmmdd_HHMMSS. A test in the same work dir logs no scalars.
    logs = sorted(path.glob('*/vis_data/scalars.json')) or sorted(path.glob('vis_data/scalars.json'))
    if not logs:
        raise InputError(f'work dir {path} has no */vis_data/scalars.json: was anything trained there?')
    return logs


def read_run(path: Path, name: str | None = None) -> Run:
    """Read the log of a run, resumed or not.

    A resumed run has one log per start; where they overlap, the later one counts.

    Args:
        path: Work dir, or a ``scalars.json``.
        name: Displayed name. Defaults to that of the work dir.

    Raises:
        InputError: If there is no log, it is corrupt, or has no training iteration.
    """
    train: dict[int, Row] = {}
    val: dict[int, Row] = {}
    epochs: dict[int, Row] = {}
    notes: list[str] = []
    for log in _find_logs(path):
        rows = _read_rows(log, notes)
        started = [row for row in rows if 'loss' in row]
        if started:
            train = {step: row for step, row in train.items() if step < started[0]['step']}
            # The step of validation and epoch rows is the epoch; training rows have both.
            kept = {row.get('epoch', step) for step, row in train.items()}
            if 'epoch' not in started[0]:
                rows = _count_iterations(rows)
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
    return read_json(file, 'is not the record of a run', _parse_record)


def _parse_record(content: Any) -> dict[str, Any]:
    require(isinstance(content, dict), 'it must be an object')
    require(type(content.get('seed', 0)) is int, 'seed must be an integer')
    require(is_number(content.get('memory_mib', 0)), 'memory_mib must be a number')
    require(isinstance(content.get('config', {}), dict), 'config must be an object')
    for part in content.get('data', {}).values():
        paths = [part.get(key, '') for key in ('ann_file', 'image_folder')] if part else []
        require(all(isinstance(path, str) for path in paths), 'ann_file and image_folder must be text')
    return content


def split_stream(loss: str) -> tuple[str, str]:
    """Return the stream of a loss, empty in supervised training, and its name without it."""
    stream, _, name = loss.partition('_')
    return (stream, name) if stream in STREAMS else ('', loss)


def is_validation(row: dict[str, Any]) -> bool:
    """Return whether a log row is a validation's: it has no loss, but metrics (``prefix/metric``) or a time.

    mmdet's ``CocoMetric`` reports no metric if nothing was detected.
    """
    return 'loss' not in row and any(key == 'time' or ('/' in key and not key.startswith('epoch/')) for key in row)


def is_run(path: Path) -> bool:
    """Return whether a path is a log or a work dir with one."""
    if path.is_file():
        return path.suffix == '.json'
    return any(path.glob('*/vis_data/scalars.json')) or (path / 'vis_data' / 'scalars.json').is_file()

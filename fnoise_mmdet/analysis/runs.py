"""Reading the scalars that a training has logged."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError

Row = dict[str, Any]


class Run(NamedTuple):
    """What a training has logged.

    ``train`` has a row a logged training iteration, in order, ``val`` a row a
    validation, ``epochs`` a row an epoch with the means of its losses, where
    :class:`~fnoise_mmdet.hooks.EpochLossHook` was on. ``step`` of a row is its
    iteration, or epoch, from 1.
    """

    name: str
    train: list[Row]
    val: list[Row]
    epochs: list[Row]

    def losses(self) -> list[str]:
        """Give the names of the losses, the total first."""
        names = [name for name in self.train[0] if 'loss' in name]
        return sorted(names, key=lambda name: (name != 'loss', names.index(name)))


def _is_val(row: Row) -> bool:
    """Whether a row is a validation's: mmdet's metrics are named ``prefix/metric``."""
    return 'loss' not in row and any('/' in key and not key.startswith('epoch/') for key in row)


def _read_rows(path: Path) -> list[Row]:
    lines = path.read_text(encoding='utf-8').splitlines()
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):  # a killed run leaves half a line
                print(f'{path}: the last line is cut off and is left out')
                break
            raise InputError(f'{path} is not a log of scalars: line {number} is not JSON') from None
        if not isinstance(row, dict):
            raise InputError(f'{path} is not a log of scalars: line {number} is not a JSON object')
        rows.append(row)
    return rows


def _find_logs(path: Path) -> list[Path]:
    """Give the logs of a run, one for each time that it was started, oldest first."""
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
    for log in _find_logs(path):
        rows = _read_rows(log)
        started = [row['step'] for row in rows if 'loss' in row]
        if started:
            train = {step: row for step, row in train.items() if step < started[0]}
            # The rows of validations and epochs carry their epoch as step, training rows both.
            kept = {row['epoch'] for row in train.values() if 'epoch' in row}
            val = {step: row for step, row in val.items() if step in kept}
            epochs = {step: row for step, row in epochs.items() if step in kept}
        train |= {row['step']: row for row in rows if 'loss' in row}
        val |= {row['step']: row for row in rows if _is_val(row)}
        epochs |= {row['step']: row for row in rows if 'epoch/mean_loss' in row}
    if not train:
        raise InputError(f'run {path} has logged no training iteration')
    if name is None:
        name = path.name if path.is_dir() else path.stem
    return Run(name, *([rows[step] for step in sorted(rows)] for rows in (train, val, epochs)))

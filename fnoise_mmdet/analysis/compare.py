"""Figures that compare two runs."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import InputError
from .runs import Run

AP_METRICS = ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50')


class Comparison(NamedTuple):
    """One figure of two runs; None where a run does not have it."""

    figure: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """Second minus first."""
        return None if self.a is None or self.b is None else self.b - self.a


def last_epoch_loss(run: Run, loss: str) -> float | None:
    """Give the mean of a loss over the last epoch: as logged for whole epochs, else that of the logged rows."""
    if run.epochs:
        return run.epochs[-1].get(f'epoch/mean_{loss}')
    values = [row[loss] for row in run.train if row.get('epoch') == run.train[-1].get('epoch') and loss in row]
    return statistics.fmean(values) if values else None


def seconds_per_iteration(run: Run) -> float | None:
    """Give the median time of a training iteration, the first row with its warm-up left out."""
    times = [row['time'] for row in run.train if 'time' in row]
    return statistics.median(times[1:] or times) if times else None


def compare_runs(a: Run, b: Run) -> list[Comparison]:
    """Compare the last epoch's losses, the last validation's AP, and the time of an iteration.

    Raises:
        InputError: The runs have no loss in common.
    """
    losses = [loss for loss in a.losses() if loss in b.losses()]
    if not losses:
        raise InputError(f'{a.name} and {b.name} have no loss in common')

    rows = [
        Comparison(f'{loss}, mean of the last epoch', last_epoch_loss(a, loss), last_epoch_loss(b, loss))
        for loss in losses
    ]
    last_a, last_b = (run.val[-1] if run.val else {} for run in (a, b))
    rows += [
        Comparison(metric, last_a.get(metric), last_b.get(metric))
        for metric in AP_METRICS
        if metric in last_a or metric in last_b
    ]
    return [*rows, Comparison('s/iteration, median', seconds_per_iteration(a), seconds_per_iteration(b))]


def mismatches(a: Run, b: Run) -> list[str]:
    """Say what makes two runs no fair pair: other lengths, other losses, other validations."""
    found = []
    for what, get in dict[str, Callable[[Run], Any]](
        {
            'last iteration': lambda run: run.train[-1]['step'],
            'last epoch': lambda run: run.train[-1].get('epoch'),
            'losses': lambda run: ', '.join(sorted(run.losses())),
            'validated epochs': lambda run: ', '.join(str(row['step']) for row in run.val) or 'none',
        }
    ).items():
        if get(a) != get(b):
            found.append(f'{what}: {get(a)} in {a.name}, {get(b)} in {b.name}')
    return found

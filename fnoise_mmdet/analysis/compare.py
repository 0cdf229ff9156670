"""Figures of several conditions, their differences, and what these allow to say."""

import math
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .average_precision import average_precision, draw_images, match_detections
from .conditions import Condition
from .intervals import Interval, bootstrap_interval, percentile_interval, t_interval
from .runs import Run

HIGHER, LOWER = 'higher', 'lower'
# Metrics of COCO's evaluation, by what they are called here, and where they are in the detections' AP.
AP_METRICS = {
    'coco/segm_mAP': ('mask AP', 'segm', 0),
    'coco/segm_mAP_50': ('mask AP50', 'segm', 1),
    'coco/bbox_mAP': ('box AP', 'bbox', 0),
    'coco/bbox_mAP_50': ('box AP50', 'bbox', 1),
}
RESAMPLES = 1000


class Measure(NamedTuple):
    """One figure of every run, by condition and seed; ``better`` is higher, lower, or empty where neither is."""

    key: str
    label: str
    better: str
    values: dict[str, dict[int, float]]

    def mean(self, condition: str) -> float | None:
        """Give the mean over the seeds of a condition, None where it has none; NaN where a run has NaN."""
        values = list(self.values.get(condition, {}).values())
        return float(np.mean(values)) if values else None

    def deviation(self, condition: str) -> float | None:
        """Give the standard deviation over the seeds of a condition, None for fewer than two."""
        values = list(self.values.get(condition, {}).values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


class Difference(NamedTuple):
    """A condition minus the reference in one measure, over the seeds that both have.

    ``seeds`` is Student's interval for the mean over seeds, ``bootstrap`` the
    bootstrap's; ``images`` is the bootstrap's over the validation images, with
    the trained models as they are.
    """

    measure: Measure
    condition: str
    reference: str
    by_seed: dict[int, float]
    seeds: Interval | None
    bootstrap: Interval | None
    images: Interval | None

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(np.mean(list(self.by_seed.values())))

    @property
    def reading(self) -> str:
        """What the interval over seeds allows to say, in a word or two."""
        if self.seeds is None:
            return 'one pair: not told from chance'
        if not self.seeds.excludes_zero():
            return 'no difference told'
        direction = HIGHER if self.mean > 0 else LOWER
        if not self.measure.better:
            return direction
        return f'{direction}: {"better" if direction == self.measure.better else "worse"}'


class Comparison(NamedTuple):
    """All figures; the first condition is the reference, and the first measure the one that the verdict is about."""

    conditions: list[Condition]
    measures: list[Measure]
    differences: list[Difference]
    warnings: list[str]

    def difference(self, key: str, condition: str) -> Difference | None:
        """Give the difference of a condition in the measure of that key."""
        return next((one for one in self.differences if (one.measure.key, one.condition) == (key, condition)), None)


def compare(
    conditions: Sequence[Condition],
    warnings: Sequence[str] = (),
    progress: Callable[[Iterable[Any], str], Iterable[Any]] = lambda items, _: items,
) -> Comparison:
    """Compare conditions with the first of them.

    Args:
        conditions: At least one, see :func:`~fnoise_mmdet.analysis.read_conditions`.
        warnings: What the reader must know of the runs.
        progress: Wraps what takes long, with its label, as :func:`fnoise_mmdet.cli.show_progress` does.

    Raises:
        InputError: The runs have no loss in common.
    """
    runs = [run for condition in conditions for run in (*condition.runs, *condition.set_aside)]
    losses = [loss for loss in runs[0].losses() if all(loss in run.losses() for run in runs)]
    if not losses:
        raise InputError(f'{" and ".join(run.name for run in runs)} have no loss in common')

    draws = _image_draws(conditions, progress)
    measures = list(_measures(conditions, losses))
    differences = [
        difference
        for measure in measures
        for condition in conditions[1:]
        if (difference := _difference(measure, conditions[0], condition, draws)) is not None
    ]
    return Comparison(list(conditions), measures, differences, list(warnings))


def _measures(conditions: Sequence[Condition], losses: Sequence[str]) -> Iterable[Measure]:
    def collect(key: str, label: str, better: str, get: Callable[[Run], float | None]) -> Iterable[Measure]:
        values = {
            condition.name: {
                seed: float(value) for seed, run in condition.by_seed().items() if (value := get(run)) is not None
            }
            for condition in conditions
        }
        if any(values.values()):
            yield Measure(key, label, better, values)

    def last_validation(key: str) -> Callable[[Run], float | None]:
        return lambda run: run.val[-1].get(key) if run.val else None

    validated = {key for condition in conditions for run in condition.runs for row in run.val for key in row}
    for key, (label, _, _) in AP_METRICS.items():
        yield from collect(key, label, HIGHER, last_validation(key))
    if not validated & AP_METRICS.keys():  # of another data set's metric
        for key in sorted(key for key in validated if '/' in key):
            yield from collect(key, key, HIGHER, last_validation(key))
    yield from collect('val_loss', 'validation loss', LOWER, last_validation('val_loss'))
    yield from collect('loss', 'training loss', LOWER, methodcaller('last_epoch_loss', 'loss'))
    for loss in losses:
        if loss != 'loss':
            part = loss.removeprefix('loss_')
            yield from collect(f'val_{loss}', f'validation loss: {part}', LOWER, last_validation(f'val_{loss}'))
            yield from collect(loss, f'training loss: {part}', LOWER, methodcaller('last_epoch_loss', loss))
    yield from collect('time', 'seconds an iteration', LOWER, Run.seconds_per_iteration)
    yield from collect('memory', 'peak memory, MiB', LOWER, Run.memory_mib)


def _difference(
    measure: Measure, reference: Condition, condition: Condition, draws: dict[tuple[str, int, str], np.ndarray]
) -> Difference | None:
    """Pair the runs by seed; a pair with NaN has no difference."""
    a, b = measure.values[reference.name], measure.values[condition.name]
    by_seed = {seed: b[seed] - a[seed] for seed in a if seed in b and math.isfinite(b[seed] - a[seed])}
    if not by_seed:
        return None
    values = list(by_seed.values())
    images = None
    if measure.key in AP_METRICS:
        _, kind, column = AP_METRICS[measure.key]
        keys = [((condition.name, seed, kind), (reference.name, seed, kind)) for seed in by_seed]
        if all(key in draws for pair in keys for key in pair):
            images = percentile_interval(np.mean([draws[x][:, column] - draws[y][:, column] for x, y in keys], axis=0))
    return Difference(
        measure, condition.name, reference.name, by_seed, t_interval(values), bootstrap_interval(values), images
    )


def _image_draws(
    conditions: Sequence[Condition], progress: Callable[[Iterable[Any], str], Iterable[Any]]
) -> dict[tuple[str, int, str], np.ndarray]:
    """Give AP and AP50 of every run, by condition, seed and kind, on the same resamples of the images."""
    jobs = []
    for condition in conditions:
        for seed, run in condition.by_seed().items():
            for kind in ('bbox', 'segm'):
                ann_file, results = ann_file_of(run), run.predictions(kind)
                if ann_file and results:
                    jobs.append(((condition.name, seed, kind), ann_file, results))
    if len(conditions) < 2 or not jobs:
        return {}
    draws = {}
    for key, ann_file, results in progress(jobs, 'resampling the validation images'):
        tables = match_detections(ann_file, results, key[2])
        if tables:
            draws[key] = average_precision(tables, draw_images(len(tables[0].objects), RESAMPLES))
    return draws


def ann_file_of(run: Run) -> Path | None:
    """Give the annotation file of a run's validation, None where it is not known or not there."""
    named = ((run.record.get('data') or {}).get('val') or {}).get('ann_file')
    return Path(named) if named and Path(named).is_file() else None

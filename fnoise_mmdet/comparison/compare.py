"""Figures of several conditions, their differences, and what these allow to say."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .conditions import Condition
from .intervals import Interval, bootstrap_interval, percentile_interval, t_interval
from .measures import HIGHER, LOWER, Measure, collect_measures
from .resampling import Draws, Progress, resample_images

BETTER, WORSE = 'better', 'worse'


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
    def direction(self) -> str:
        """``better`` or ``worse`` where the interval over seeds excludes 0, else empty."""
        if self.seeds is None or not self.seeds.excludes_zero() or not self.measure.better:
            return ''
        return BETTER if (self.mean > 0) == (self.measure.better == HIGHER) else WORSE

    @property
    def conclusion(self) -> str:
        """What the interval over seeds allows to say, in a word or two."""
        if self.seeds is None:
            return 'one pair: not told from chance'
        if not self.seeds.excludes_zero():
            return 'no difference told'
        sign = HIGHER if self.mean > 0 else LOWER
        return f'{sign}: {self.direction}' if self.direction else sign


class Comparison(NamedTuple):
    """All figures; the first condition is the reference, and the first measure the one that the verdict is about."""

    conditions: list[Condition]
    measures: list[Measure]
    differences: list[Difference]
    warnings: list[str]

    def difference(self, key: str, condition: str) -> Difference | None:
        """Return the difference of a condition in the measure of that key."""
        return next((one for one in self.differences if (one.measure.key, one.condition) == (key, condition)), None)


def compare(
    conditions: Sequence[Condition],
    warnings: Sequence[str] = (),
    progress: Progress = lambda items, _: items,
) -> Comparison:
    """Compare conditions with the first of them.

    Args:
        conditions: At least one, see :func:`~fnoise_mmdet.comparison.read_conditions`.
        warnings: What the reader must know of the runs.
        progress: Wraps what takes long, with its label, as :func:`fnoise_mmdet.cli.show_progress` does.

    Raises:
        InputError: The runs have no loss in common.
    """
    runs = [run for condition in conditions for run in (*condition.runs, *condition.set_aside)]
    losses = [loss for loss in runs[0].losses() if all(loss in run.losses() for run in runs)]
    if not losses:
        raise InputError(f'{" and ".join(run.name for run in runs)} have no loss in common')

    draws = resample_images(conditions, progress) if len(conditions) > 1 else {}
    measures = list(collect_measures(conditions, losses))
    differences = [
        difference
        for measure in measures
        for condition in conditions[1:]
        if (difference := paired_difference(measure, conditions[0].name, condition.name, draws)) is not None
    ]
    return Comparison(list(conditions), measures, differences, list(warnings))


def paired_difference(
    measure: Measure, reference: str, condition: str, draws: Draws | None = None
) -> Difference | None:
    """Pair the runs of two conditions by seed; a pair with NaN has no difference, and None is given where none has.

    Args:
        measure: What to compare.
        reference: The condition to subtract.
        condition: The other one.
        draws: Of the bootstrap over images, see :func:`~.resampling.resample_images`; without them the difference has
            no interval over images.
    """
    a, b = measure.values[reference], measure.values[condition]
    by_seed = {seed: b[seed] - a[seed] for seed in a if seed in b and math.isfinite(b[seed] - a[seed])}
    if not by_seed:
        return None
    values = list(by_seed.values())
    images = None
    pairs = [((condition, seed, measure.key), (reference, seed, measure.key)) for seed in by_seed]
    if draws and all(key in draws for pair in pairs for key in pair):
        images = percentile_interval(np.mean([draws[b] - draws[a] for b, a in pairs], axis=0))
    return Difference(measure, condition, reference, by_seed, t_interval(values), bootstrap_interval(values), images)

"""Paired differences between conditions, with confidence intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .classes import Classes, read_classes
from .conditions import Condition
from .intervals import (
    LEVEL,
    Interval,
    equivalence_test,
    percentile_interval,
    seeds_to_settle,
    t_interval,
)
from .measures import HIGHER, LOWER, Measure, collect_measures
from .numbers import number
from .resampling import Draws, Progress, resample_images

HELPS, HARMS, EQUIVALENT, INCONCLUSIVE = 'helps', 'harms', 'equivalent', 'inconclusive'


class Difference(NamedTuple):
    """A condition minus the reference in one measure, over the seeds that both have.

    ``seeds`` is the 95 % confidence interval of the mean over seeds by
    Student's t, and ``images`` the percentile bootstrap interval over
    validation images for fixed models.
    """

    measure: Measure
    condition: str
    reference: str
    by_seed: dict[int, float]
    seeds: Interval | None
    images: Interval | None

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.by_seed.values())))

    def in_words(self) -> str:
        """Return the mean as text, with its sign."""
        return number(self.mean, self.measure.decimals, signed=True)

    @property
    def direction(self) -> str:
        """``helps`` or ``harms`` where the interval over seeds excludes 0, else empty."""
        if self.seeds is None or not self.seeds.excludes_zero() or not self.measure.better:
            return ''
        return HELPS if (self.mean > 0) == (self.measure.better == HIGHER) else HARMS

    @property
    def conclusion(self) -> str:
        """Conclusion from the seeds, in a word.

        - ``equivalent``: within ± the margin of the measure, by two one-sided tests at 5 %;
        - ``helps`` or ``harms``: the 95 % interval excludes 0, and the measure has a
          preferred direction, else ``higher`` or ``lower``;
        - ``inconclusive``: neither;
        - ``one pair``: a single seed.
        """
        if self.seeds is None:
            return 'one pair'
        margin = self.measure.margin
        if margin and equivalence_test(list(self.by_seed.values()), margin) < 1 - LEVEL:
            return EQUIVALENT
        if not self.seeds.excludes_zero():
            return INCONCLUSIVE
        return self.direction or (HIGHER if self.mean > 0 else LOWER)

    @property
    def seeds_needed(self) -> int | None:
        """Number of seeds that would settle an inconclusive difference, see :func:`~.intervals.seeds_to_settle`.

        None where it is settled, there are as many already, or the measure has no margin.
        """
        if self.conclusion != INCONCLUSIVE or not self.measure.margin:
            return None
        needed = seeds_to_settle(list(self.by_seed.values()), self.measure.margin)
        return needed if needed and needed > len(self.by_seed) else None


class Comparison(NamedTuple):
    """All measures and differences; the first condition is the reference, the first measure decides the verdict."""

    conditions: list[Condition]
    measures: list[Measure]
    differences: list[Difference]
    classes: Classes
    warnings: list[str]

    def difference(self, key: str, condition: str) -> Difference | None:
        """Return the difference of a condition in a measure, None if there is none."""
        return next((one for one in self.differences if (one.measure.key, one.condition) == (key, condition)), None)


def compare(
    conditions: Sequence[Condition],
    warnings: Sequence[str] = (),
    progress: Progress = lambda items, _: items,
) -> Comparison:
    """Compare conditions with the first of them.

    Args:
        conditions: At least one, see :func:`~fnoise_mmdet.comparison.read_conditions`.
        warnings: Remarks on the runs for the reader.
        progress: Wraps long loops, given a label, as :func:`fnoise_mmdet.cli.show_progress` does.

    Raises:
        InputError: If the runs have no loss in common.
    """
    runs = [run for condition in conditions for run in (*condition.runs, *condition.excluded)]
    losses = list(dict.fromkeys(loss for run in runs for loss in run.losses()))
    if not any(all(loss in run.losses() for run in runs) for loss in losses):
        raise InputError(f'{" and ".join(run.name for run in runs)} have no loss in common')

    draws = resample_images(conditions, progress) if len(conditions) > 1 else {}
    measures = list(collect_measures(conditions, losses))
    differences = [
        difference
        for measure in measures
        for condition in conditions[1:]
        if (difference := paired_difference(measure, conditions[0].name, condition.name, draws)) is not None
    ]
    classes = read_classes(conditions, progress)
    return Comparison(list(conditions), measures, differences, classes, list(warnings))


def most_pairs(differences: Sequence[Difference]) -> int:
    """Return the largest number of pairs of a difference."""
    return max((len(one.by_seed) for one in differences), default=0)


def paired_difference(
    measure: Measure, reference: str, condition: str, draws: Draws | None = None
) -> Difference | None:
    """Pair the runs of two conditions by seed, dropping pairs with NaN.

    Args:
        measure: Measure to compare.
        reference: The condition to subtract.
        condition: The other one.
        draws: Bootstrap draws over images, see :func:`~.resampling.resample_images`; without them the difference has
            no interval over images.

    Returns:
        The difference, None if no pair is left.
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
    return Difference(measure, condition, reference, by_seed, t_interval(values), images)

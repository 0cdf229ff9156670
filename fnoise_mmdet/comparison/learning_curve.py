"""Number of labelled images with which supervised training matches a condition, from its learning curve."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .intervals import Interval, percentile_interval
from .measures import Measure
from .numbers import number
from .table import Table

RESAMPLES = 9999


class Worth(NamedTuple):
    """Number of labelled images with which the supervised training is as good as a condition.

    ``at_most`` and ``at_least`` are true where the condition is outside of the
    curve, whose end is given then.
    """

    labels: float
    interval: Interval
    at_most: bool
    at_least: bool

    def in_words(self) -> str:
        """Return the number with its 95 % confidence interval as text."""
        bound = 'at most ' if self.at_most else 'at least ' if self.at_least else ''
        return f'{bound}{self.labels:.0f} ({self.interval.low:.0f} to {self.interval.high:.0f})'


def worth_in_labels(curve: Mapping[int, Mapping[int, float]], values: Mapping[int, float]) -> Worth | None:
    """Return how many labelled images a condition is worth.

    The mean over seeds of the supervised training is interpolated linearly in
    the logarithm of the number of labelled images, and made monotone: more
    images cannot be worth less. The 95 % confidence interval is the percentile
    bootstrap over seeds, with the same seeds for curve and condition, as they
    share weights and images.

    Args:
        curve: Measure of the supervised training, higher is better, by number of labelled images and seed.
        values: Measure of the condition, by seed.

    Returns:
        The number, None with fewer than two seeds that all have, or fewer than two numbers of images.
    """
    counts = sorted(curve)
    seeds = sorted(set(values).intersection(*(curve[count] for count in counts)))
    if len(seeds) < 2 or len(counts) < 2:
        return None
    supervised = np.array([[curve[count][seed] for seed in seeds] for count in counts])
    condition = np.array([values[seed] for seed in seeds])
    draws = np.random.default_rng(0).integers(len(seeds), size=(RESAMPLES, len(seeds)))
    resampled = _interpolate(counts, supervised[:, draws].mean(axis=2), condition[draws].mean(axis=1))
    means, mean = supervised.mean(axis=1), condition.mean()
    return Worth(
        float(_interpolate(counts, means[:, None], condition.mean(keepdims=True))[0]),
        percentile_interval(resampled),
        at_most=bool(mean < means[0]),
        at_least=bool(mean > means.max()),
    )


def worth_table(measure: Measure, curve: Mapping[int, Mapping[int, float]], labels: int) -> Table:
    """Return what each condition is worth in labels.

    Args:
        measure: Measure of all conditions, higher is better.
        curve: That of the supervised training, by number of labelled images and seed.
        labels: Number of labelled images that the conditions were trained with.
    """
    rows = []
    for name, values in measure.values.items():
        worth = worth_in_labels(curve, values)
        if worth:
            more, low, high = (
                f'{number(round(100 * (value / labels - 1)), 0, signed=True)} %'
                for value in (worth.labels, *worth.interval)
            )
            found = [worth.in_words(), f'{more} ({low} to {high})']
        else:
            found = [number(None), number(None)]
        rows.append([name, number(measure.mean(name)), *found])
    return Table.of(['', measure.label, 'labelled images (95 % CI)', f'more than {labels} (95 % CI)'], rows)


def _interpolate(counts: Sequence[int], curves: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the numbers of images at which curves, (C, B), have values, (B,), within the counts, (C,)."""
    curves, logarithms = np.maximum.accumulate(curves), np.log(counts)
    left = np.clip((curves < values).sum(axis=0) - 1, 0, len(counts) - 2)
    low, high = (np.take_along_axis(curves, place[None], axis=0)[0] for place in (left, left + 1))
    with np.errstate(divide='ignore', invalid='ignore'):
        share = np.where(high > low, np.clip((values - low) / (high - low), 0, 1), values > low)
    return np.exp(logarithms[left] + share * (logarithms[left + 1] - logarithms[left]))

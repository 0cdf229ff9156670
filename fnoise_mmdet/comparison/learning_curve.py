"""Number of labelled images with which supervised training matches a condition, from its learning curve."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .intervals import Interval, percentile_interval
from .measures import Measure
from .numbers import number
from .table import Table

RESAMPLES = 9999
TINY = 1e-6  # images, by which rounding moves an end of the curve


class Worth(NamedTuple):
    """Number of labelled images with which the supervised training is as good as a condition.

    Numbers outside the range of the learning curve are unknown: its ``ends`` are bounds.
    """

    labels: float
    interval: Interval
    ends: tuple[int, int]

    def in_words(self, show: Callable[[float], str] = '{:.0f}'.format) -> str:
        """Return the number with its 95 % confidence interval as text, with ≤ or ≥ at the ends of the curve."""

        def bounded(value: float) -> str:
            sign = '≤ ' if value < self.ends[0] + TINY else '≥ ' if value > self.ends[1] - TINY else ''
            return f'{sign}{show(value)}'

        return f'{bounded(self.labels)} ({" to ".join(map(bounded, self.interval))})'


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
    labels = _interpolate(counts, supervised.mean(axis=1, keepdims=True), condition.mean(keepdims=True))
    return Worth(float(labels[0]), percentile_interval(resampled), (counts[0], counts[-1]))


def worth_table(measure: Measure, curve: Mapping[int, Mapping[int, float]], labels: int) -> Table:
    """Return what each condition is worth in labels.

    Args:
        measure: Measure of all conditions, higher is better.
        curve: That of the supervised training, by number of labelled images and seed.
        labels: Number of labelled images that the conditions were trained with.
    """

    def more(value: float) -> str:
        return f'{number(round(100 * (value / labels - 1)), 0, signed=True)} %'

    rows = []
    for name, values in measure.values.items():
        if values in curve.values():  # the condition is a point of the curve
            continue
        worth = worth_in_labels(curve, values)
        found = [worth.in_words(), worth.in_words(more)] if worth else [number(None), number(None)]
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

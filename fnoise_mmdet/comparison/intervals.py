"""Confidence intervals and significance tests for the mean of a small sample."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .numbers import number

LEVEL = 0.95


class Interval(NamedTuple):
    """Bounds of a 95 % confidence interval."""

    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Return whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0

    def in_words(self, decimals: int = 3) -> str:
        """Return both bounds as text."""
        return ' to '.join(number(bound, decimals, signed=True) for bound in self)


def t_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's t interval for the mean, None for fewer than two values.

    For a handful of seeds its coverage is right, where a bootstrap interval is too narrow.
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Interval(mean - reach, mean + reach)


def t_test(values: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's t test for a mean of 0, given two or more values.

    It is below 0.05 where :func:`t_interval` excludes 0.
    """
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    At a threshold of 0.05 the family-wise error rate is at most 5 %, whatever
    the dependence between the tests.
    """
    count = len(probabilities)
    corrected = [0.0] * count
    highest = 0.0
    for place, index in enumerate(np.argsort(probabilities)):
        highest = max(highest, min(1.0, (count - place) * probabilities[index]))
        corrected[index] = highest
    return corrected


def significant_after_holm(samples: Sequence[Sequence[float]]) -> list[bool]:
    """Return which sample means differ significantly from 0 after Holm's correction for their number."""
    return [p_value < 1 - LEVEL for p_value in holm([t_test(values) for values in samples])]


def bootstrap_interval(values: Sequence[float], resamples: int = 9999) -> Interval | None:
    """Return the percentile bootstrap interval for the mean (Efron, 1979), None for fewer than two values."""
    if len(values) < 2:
        return None
    if math.isclose(min(values), max(values)):  # SciPy returns NaN for a distribution without spread
        return Interval(values[0], values[0])
    found = stats.bootstrap(
        (np.asarray(values),),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=resamples,
        method='percentile',
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def percentile_interval(draws: np.ndarray) -> Interval:
    """Return the percentile interval of bootstrap draws, ignoring NaN."""
    low, high = np.nanpercentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high))

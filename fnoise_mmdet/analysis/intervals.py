"""How sure a mean over few values is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """The ends of an interval that covers the true value in 95 % of all repetitions."""

    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Tell whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0

    def in_words(self) -> str:
        """Give both ends as they are shown."""
        return f'{signed(self.low)} to {signed(self.high)}'


def signed(value: float) -> str:
    """Give a difference as it is shown, to three decimals."""
    return f'{value:+.3f}'.replace('-', '−')


def t_interval(values: Sequence[float]) -> Interval | None:
    """Give Student's interval for the mean of a normal distribution; None for fewer than two values.

    It is honest for a handful of seeds, where a bootstrap, which can only
    repeat what it has seen, is too narrow.
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Interval(mean - reach, mean + reach)


def bootstrap_interval(values: Sequence[float], resamples: int = 9999) -> Interval | None:
    """Give the percentile bootstrap interval for the mean (Efron, 1979); None for fewer than two values."""
    if len(values) < 2:
        return None
    if math.isclose(min(values), max(values)):  # SciPy has no interval for a distribution without spread
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
    """Give the interval between the percentiles of bootstrap draws; draws that are NaN do not count."""
    low, high = np.nanpercentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high))

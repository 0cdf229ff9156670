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
        """Return whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0

    def in_words(self) -> str:
        """Return both ends as they are shown."""
        return f'{signed(self.low)} to {signed(self.high)}'


def signed(value: float) -> str:
    """Return a difference as it is shown, to three decimals."""
    return f'{value:+.3f}'.replace('-', '−')


def t_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's interval for the mean of a normal distribution; None for fewer than two values.

    It is honest for a handful of seeds, where a bootstrap, which can only
    repeat what it has seen, is too narrow.
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Interval(mean - reach, mean + reach)


def t_test(values: Sequence[float]) -> float:
    """Return the probability that the mean of two or more values is as far from 0 by chance, by Student's test.

    It is below 0.05 where :func:`t_interval` leaves 0 out.
    """
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Correct probabilities for their number (Holm, A simple sequentially rejective multiple test procedure, 1979).

    Of the corrected ones, however the tests depend on each other, one is below
    0.05 without any effect in at most 5 % of all repetitions.
    """
    count = len(probabilities)
    corrected = [0.0] * count
    highest = 0.0
    for place, index in enumerate(np.argsort(probabilities)):
        highest = max(highest, min(1.0, (count - place) * probabilities[index]))
        corrected[index] = highest
    return corrected


def told_after_holm(samples: Sequence[Sequence[float]]) -> list[bool]:
    """Tell which means differ from 0 still when the tests of all of them are corrected for their number."""
    return [chance < 1 - LEVEL for chance in holm([t_test(values) for values in samples])]


def bootstrap_interval(values: Sequence[float], resamples: int = 9999) -> Interval | None:
    """Return the percentile bootstrap interval for the mean (Efron, 1979); None for fewer than two values."""
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
    """Return the interval between the percentiles of bootstrap draws; draws that are NaN do not count."""
    low, high = np.nanpercentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high))

"""Confidence intervals, tests of difference and of equivalence, and their power, for the mean of a small sample."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .numbers import number

LEVEL = 0.95
POWER = 0.8
MOST_SEEDS = 100_000
# Standard deviation of the difference of two values that are rounded to three decimals, as mmdet's AP.
ROUNDING = 0.001 / math.sqrt(6)


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

    For a handful of seeds its coverage is right, where a bootstrap interval would be too narrow.
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), _standard_error(values)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Interval(mean - reach, mean + reach)


def t_test(values: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's t test for a mean of 0, given two or more values.

    It is below 0.05 where :func:`t_interval` excludes 0.
    """
    mean, error = abs(float(np.mean(values))), _standard_error(values)
    return 2 * float(stats.t.sf(mean / error, len(values) - 1)) if error else 1.0


def equivalence_test(values: Sequence[float], margin: float) -> float:
    """Return the p-value of the hypothesis that the mean is not within ±margin, given two or more values.

    Two one-sided t tests (Schuirmann, "A comparison of the two one-sided tests
    procedure and the power approach", 1987). It is below 0.05 where the 90 %
    interval by Student's t lies within ±margin.
    """
    mean, error, freedom = float(np.mean(values)), _standard_error(values), len(values) - 1
    if error == 0:
        return float(abs(mean) >= margin)
    return float(stats.t.sf((margin - abs(mean)) / error, freedom))


def _standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean, of two or more values.

    Equal values other than 0 are due to rounding, which bounds it from below.
    """
    error = float(stats.sem(values))
    if error < 1e-9 < abs(float(np.mean(values))):
        return ROUNDING / math.sqrt(len(values))
    return error


def seeds_to_settle(values: Sequence[float], margin: float) -> int | None:
    """Return the number of seeds that settles whether the mean is 0 or at least ``margin`` away from it.

    With it both tests have a power of 80 %, given the standard deviation of
    two or more values: that of difference for a mean of ``margin``, and that of
    equivalence for a mean of 0.

    Returns:
        The number, None if it is above 100,000.
    """
    deviation = float(np.std(values, ddof=1))
    if deviation == 0:
        return 2
    effect = margin / deviation

    def power(seeds: int) -> float:
        return min(difference_power(seeds, effect), equivalence_power(seeds, effect))

    enough = 2
    while power(enough) < POWER:
        enough *= 2
        if enough > MOST_SEEDS:
            return None
    return bisect_left(range(enough), POWER, lo=max(2, enough // 2), key=power)


def difference_power(seeds: int, effect: float) -> float:
    """Return the probability that the two-sided t test finds a mean of ``effect`` standard deviations."""
    freedom, shift = seeds - 1, effect * math.sqrt(seeds)
    critical = stats.t.ppf((1 + LEVEL) / 2, freedom)
    return float(stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift))


def equivalence_power(seeds: int, margin: float) -> float:
    """Return the probability that the two one-sided tests find a mean of 0 within ``margin`` standard deviations."""
    freedom = seeds - 1
    chances = (np.arange(1000) + 0.5) / 1000
    spread = np.sqrt(stats.chi2.ppf(chances, freedom) / freedom)  # of the standard deviation that is estimated
    reach = margin * math.sqrt(seeds) - stats.t.ppf(LEVEL, freedom) * spread
    return float(np.mean(np.maximum(0, 2 * stats.norm.cdf(reach) - 1)))


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


def percentile_interval(draws: np.ndarray) -> Interval:
    """Return the percentile interval of bootstrap draws, ignoring NaN."""
    low, high = np.nanpercentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high))

import numpy as np
import pytest
from scipy import stats

from fnoise_mmdet.comparison.intervals import (
    ROUNDING,
    difference_power,
    equivalence_power,
    equivalence_test,
    holm,
    seeds_to_settle,
    t_interval,
    t_test,
)


@pytest.mark.parametrize('seed', range(20))
def test_the_test_and_the_interval_agree(seed):
    values = np.random.default_rng(seed).normal(0.8, 1, 5)
    assert (t_test(values) < 0.05) == t_interval(values).excludes_zero()


def step_down(chances, level):
    """Holm's procedure as it is published: reject the smallest while it is at most level / those that are left."""
    rejected = set()
    for place, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[index] > level / (len(chances) - place):
            break
        rejected.add(index)
    return rejected


@pytest.mark.parametrize('seed', range(20))
def test_holm_rejects_what_its_procedure_rejects(seed):
    chances = list(np.random.default_rng(seed).uniform(0, 1, 12) ** 3)
    for level in (0.01, 0.05, 0.2):
        assert {index for index, chance in enumerate(holm(chances)) if chance <= level} == step_down(chances, level)


def test_holm_corrects_in_the_order_given():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize('seed', range(20))
def test_equivalence_is_two_one_sided_tests(seed):
    values = np.random.default_rng(seed).normal(0.2, 1, 8)
    one_sided = [
        stats.ttest_1samp(values, -1, alternative='greater').pvalue,
        stats.ttest_1samp(values, 1, alternative='less').pvalue,
    ]
    assert equivalence_test(values, 1) == pytest.approx(max(one_sided))
    low, high = stats.t.interval(0.9, 7, np.mean(values), stats.sem(values))
    assert (equivalence_test(values, 1) < 0.05) == (low > -1 and high < 1)


def test_equal_values_are_known_up_to_their_rounding():
    """To 0.001 each: three equal differences of 0.002 are not due to it, two of 0.001 may be."""
    assert equivalence_test([0.25, 0.25], 0.5) < 0.001 and equivalence_test([0.25, 0.25], 0.2) > 0.99
    for values, excludes in ([0.301 - 0.3, 0.251 - 0.25], False), ([0.002] * 3, True):
        assert t_interval(values).excludes_zero() == (t_test(values) < 0.05) == excludes
    assert t_interval([0.0, 0.0]) == (0, 0) and t_test([0.0, 0.0]) == 1 and equivalence_test([0.0, 0.0], 0.01) == 0


def test_the_rounding_is_that_of_simulated_values():
    values = np.random.default_rng(0).uniform(0, 1, (100_000, 2))
    errors = np.diff(values.round(3) - values)
    assert np.std(errors) == pytest.approx(ROUNDING, rel=0.01)


def test_error_rates_of_the_conclusions():
    """Of 4000 experiments with 8 seeds, 5 % may be wrong: 4 to 6 % within 3 standard errors."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, 8))
    found = np.mean([t_test(values) < 0.05 for values in noise])
    assert 0.04 < found < 0.06, 'a difference where there is none'
    found = np.mean([equivalence_test(values + 2, 2) < 0.05 for values in noise])
    assert 0.04 < found < 0.06, 'equivalence where the difference is the margin'


@pytest.mark.parametrize(('seeds', 'effect'), [(5, 1.0), (12, 0.8), (27, 0.6), (27, 0.3)])
def test_power_is_that_of_simulated_experiments(seeds, effect):
    """Of 4000 experiments: within 3 standard errors, at most 0.024."""
    noise = np.random.default_rng(0).normal(size=(4000, seeds))
    shown = np.mean([t_test(values + effect) < 0.05 for values in noise])
    assert difference_power(seeds, effect) == pytest.approx(shown, abs=0.024)
    ruled_out = np.mean([equivalence_test(values, effect) < 0.05 for values in noise])
    assert equivalence_power(seeds, effect) == pytest.approx(ruled_out, abs=0.024)


def test_seeds_that_settle_a_difference():
    values = 0.017 * np.array([1.0, -1.0]) / np.sqrt(2)  # standard deviation 0.017
    needed = seeds_to_settle(values, 0.01)
    powers = [
        min(difference_power(seeds, 0.01 / 0.017), equivalence_power(seeds, 0.01 / 0.017))
        for seeds in (needed - 1, needed)
    ]
    assert powers[0] < 0.8 <= powers[1] and 24 <= needed <= 28
    assert seeds_to_settle(values, 1.0) <= 3
    assert seeds_to_settle([0.0, 0.0], 0.01) == 2
    assert seeds_to_settle([-100.0, 100.0], 0.01) is None

import numpy as np
import pytest

from fnoise_mmdet.comparison.intervals import holm, t_interval, t_test


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

from types import SimpleNamespace

import pytest

from fnoise_mmdet.engine.hooks.interval import is_due


@pytest.mark.parametrize(
    ('interval', 'length', 'due'), [(2, 5, [2, 4]), (5, 5, [5]), (9, 5, [5]), (1, 2, [1, 2]), (6, 13, [6, 12])]
)
def test_each_interval_and_the_end_of_a_shorter_training(interval, length, due):
    runners = [SimpleNamespace(iter=iteration - 1, max_iters=length) for iteration in range(1, length + 1)]
    assert [runner.iter + 1 for runner in runners if is_due(runner, interval)] == due

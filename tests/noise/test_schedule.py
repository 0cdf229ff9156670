import math

import pytest

from fnoise_mmdet.noise import schedule_factor


def factors(schedule: str, **settings) -> list[float]:
    return [schedule_factor(schedule, step, **settings) for step in range(8)]


def test_constant():
    assert factors('constant') == [1] * 8
    assert factors('constant', begin=3) == [0, 0, 0, 1, 1, 1, 1, 1]


def test_linear():
    assert factors('linear', begin=2, end=6) == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1, 1])
    down = factors('linear', end=4, start_factor=1.0, end_factor=0.2)
    assert down == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2, 0.2])


def test_linear_without_length_is_a_jump():
    assert factors('linear', begin=3, end=3) == [0, 0, 0, 1, 1, 1, 1, 1]


def test_cosine():
    expected = [(1 - math.cos(math.pi * min(step, 4) / 4)) / 2 for step in range(8)]
    assert factors('cosine', end=4) == pytest.approx(expected)


def test_step():
    assert factors('step', milestones=[2, 5], gamma=0.5) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="schedule must be one of .*, but got 'exponential'"):
        schedule_factor('exponential', 0)

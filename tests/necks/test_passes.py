import pytest
import torch

from fnoise_mmdet.necks.passes import Passes


def test_passes_are_counted_in_each_iteration():
    passes = Passes()
    assert [passes.count(iteration, [], torch.ones(2)) for iteration in (5, 5, 6, 6, 6, 5)] == [0, 1, 0, 1, 2, 0]


def test_finite_levels_pass():
    passes = Passes()
    passes.check()
    passes.leave_unchecked('inputs', {0: (1, 2), 3: (3, 4)}, torch.tensor([0.0, 3e38]))
    passes.check()


def test_every_level_that_is_not_finite_is_named_once():
    passes = Passes()
    passes.count(7, [], torch.ones(3))
    passes.leave_unchecked('inputs', {0: (1, 2), 2: (3, 4), 3: (5, 6)}, torch.tensor([float('nan'), 1.0, float('inf')]))
    with pytest.raises(
        FloatingPointError,
        match=r'^inputs are not finite in iteration 7: level 0 of shape \(1, 2\) has NaN; '
        r'level 3 of shape \(5, 6\) has Inf$',
    ):
        passes.check()
    passes.check()

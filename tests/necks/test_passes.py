import copy

import pytest
import torch

from fnoise_mmdet.necks.passes import OnItsWay, Passes


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


def test_a_copy_has_no_passes():
    passes = Passes()
    passes.count(7, [], torch.ones(1))
    passes.leave_unchecked('inputs', {0: (1, 2)}, torch.tensor([float('nan')]))
    other = copy.deepcopy(passes)
    other.check()
    assert other.count(7, [], torch.ones(1)) == 0 and passes.count(7, [], torch.ones(1)) == 1


@pytest.mark.gpu
def test_the_host_waits_for_what_is_on_its_way_at_its_arrival_alone():
    a = torch.full((4096, 4096), float('inf'), device='cuda')
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        numbers = OnItsWay((a @ a).amax(1)[:1])  # takes a while
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert numbers.arrive() == [float('inf')]

import copy
import pickle

import pytest
import torch

from fnoise_mmdet.necks.passes import AT_ONCE, Passes

LEVELS = [torch.ones(1, 2, 3, 4)] * 3


def test_passes_are_counted_in_each_iteration():
    passes = Passes()
    assert [passes.begin(iteration, LEVELS)[0] for iteration in (5, 5, 6, 6, 6, 5)] == [0, 1, 0, 1, 2, 0]


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def test_each_pass_has_zeros_of_its_own(device):
    passes = Passes()
    for iteration in range(2 * AT_ONCE + 1):
        levels = [x.to(device) for x in LEVELS[: 1 + iteration // AT_ONCE]]
        peaks = passes.begin(iteration, levels)[1]
        assert peaks.tolist() == [0.0] * len(levels) and peaks.device.type == device
        assert peaks.data_ptr() % 16 == 0
        peaks.fill_(1)


def test_passes_in_inference_mode_leave_those_after_them_alone():
    passes = Passes()
    for mode in (True, False, True):
        with torch.inference_mode(mode):
            peaks = passes.begin(1, LEVELS)[1]
            peaks.copy_(torch.ones(3))
            passes.leave_unchecked('inputs', {0: (1, 2), 1: (1, 2), 2: (1, 2)}, peaks)
            passes.check()


def test_finite_levels_pass():
    passes = Passes()
    passes.check()
    passes.leave_unchecked('inputs', {0: (1, 2), 3: (3, 4)}, torch.tensor([0.0, 3e38]))
    passes.check()


def test_every_level_that_is_not_finite_is_named_once():
    passes = Passes()
    passes.begin(7, LEVELS)
    passes.leave_unchecked('inputs', {0: (1, 2), 2: (3, 4), 3: (5, 6)}, torch.tensor([float('nan'), 1.0, float('inf')]))
    with pytest.raises(
        FloatingPointError,
        match=r'^inputs are not finite in iteration 7: level 0 of shape \(1, 2\) has NaN; '
        r'level 3 of shape \(5, 6\) has Inf$',
    ):
        passes.check()
    passes.check()


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_no_passes(duplicate):
    passes = Passes()
    passes.begin(7, LEVELS)
    passes.leave_unchecked('inputs', {0: (1, 2)}, torch.tensor([float('nan')]))
    other = duplicate(passes)
    other.check()
    assert other.begin(7, LEVELS)[0] == 0 and passes.begin(7, LEVELS)[0] == 1


@pytest.mark.gpu
def test_the_host_waits_for_a_gpu_when_it_looks_alone():
    passes, a = Passes(), torch.full((4096, 4096), float('inf'), device='cuda')
    passes.leave_unchecked('inputs', {0: (1, 2)}, torch.zeros(1, device='cuda'))
    passes.check()
    torch.cuda.set_sync_debug_mode('error')
    try:
        passes.leave_unchecked('inputs', {0: (1, 2)}, (a @ a).amax(1)[:1])  # takes a while
    finally:
        torch.cuda.set_sync_debug_mode('default')
    with pytest.raises(FloatingPointError, match='level 0 of .* has Inf'):
        passes.check()

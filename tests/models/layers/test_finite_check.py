import copy
import pickle

import pytest
import torch

from fnoise_mmdet.models.layers.finite_check import POOL_SIZE, FiniteCheck


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def test_each_pass_has_zeros_of_its_own(device):
    check = FiniteCheck()
    for number in range(2 * POOL_SIZE + 1):
        count = min(3, 1 + number // POOL_SIZE)
        peaks = check.new_peaks(count, torch.empty(0, device=device).device)
        assert peaks.tolist() == [0.0] * count and peaks.device.type == device
        assert peaks.data_ptr() % 16 == 0
        peaks.fill_(1)


def test_passes_in_inference_mode_leave_those_after_them_alone():
    check = FiniteCheck()
    for mode in (True, False, True):
        with torch.inference_mode(mode):
            peaks = check.new_peaks(3, torch.device('cpu'))
            peaks.copy_(torch.ones(3))
            check.defer('inputs', {0: (1, 2), 1: (1, 2), 2: (1, 2)}, peaks)
            check.finish()


def test_finite_levels_pass():
    check = FiniteCheck()
    check.finish()
    check.defer('inputs', {0: (1, 2), 3: (3, 4)}, torch.tensor([0.0, 3e38]))
    check.finish()


def test_every_level_that_is_not_finite_is_named_once():
    check = FiniteCheck()
    peaks = torch.tensor([float('nan'), 1.0, float('inf')])
    check.defer('inputs are not finite', {0: (1, 2), 2: (3, 4), 3: (5, 6)}, peaks)
    with pytest.raises(
        FloatingPointError,
        match=r'^inputs are not finite: level 0 of shape \(1, 2\) has NaN; level 3 of shape \(5, 6\) has Inf$',
    ):
        check.finish()
    check.finish()


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_nothing_to_check(duplicate):
    check = FiniteCheck()
    check.defer('inputs', {0: (1, 2)}, torch.tensor([float('nan')]))
    duplicate(check).finish()
    with pytest.raises(FloatingPointError):
        check.finish()


@pytest.mark.gpu
def test_the_host_waits_for_a_gpu_only_when_it_looks():
    check, a = FiniteCheck(), torch.full((4096, 4096), float('inf'), device='cuda')
    check.defer('inputs', {0: (1, 2)}, torch.zeros(1, device='cuda'))
    check.finish()
    torch.cuda.set_sync_debug_mode('error')
    try:
        check.defer('inputs', {0: (1, 2)}, (a @ a).amax(1)[:1])  # takes a while
    finally:
        torch.cuda.set_sync_debug_mode('default')
    with pytest.raises(FloatingPointError, match='level 0 of .* has Inf'):
        check.finish()

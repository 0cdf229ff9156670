import pytest
import torch

from fnoise_mmdet.necks.passes import FiniteCheck


def test_finite_levels_pass():
    FiniteCheck(torch.tensor([0.0, 3e38]), {0: (1, 2), 3: (3, 4)}, 'inputs').finish()


def test_every_level_that_is_not_finite_is_named():
    peaks = torch.tensor([float('nan'), 1.0, float('inf')])
    check = FiniteCheck(peaks, {0: (1, 2), 2: (3, 4), 3: (5, 6)}, 'inputs')
    with pytest.raises(
        FloatingPointError,
        match=r'^inputs are not finite: level 0 of shape \(1, 2\) has NaN; level 3 of shape \(5, 6\) has Inf$',
    ):
        check.finish()


@pytest.mark.gpu
def test_a_gpu_is_waited_for_at_the_end_alone():
    a = torch.full((4096, 4096), float('inf'), device='cuda')
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        peaks = (a @ a).amax(1)[:1]  # takes a while
        check = FiniteCheck(peaks, {0: (1, 2)}, 'inputs')
    finally:
        torch.cuda.set_sync_debug_mode('default')
    with pytest.raises(FloatingPointError, match='level 0 of shape .* has Inf'):
        check.finish()

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fnoise_mmdet import FeatureNoise


@pytest.mark.slow
def test_two_processes_have_noise_of_their_own_and_the_same_weights(root, tmp_path):
    worker = Path(__file__).with_name('ddp_worker.py')
    processes = [
        subprocess.Popen(
            [sys.executable, worker, root / 'configs/demo_fnoise.py', str(rank), '2', tmp_path],
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-2000:]
    first, second = (torch.load(tmp_path / f'rank_{rank}.pth', weights_only=True) for rank in range(2))
    for name, weight in first['weights'].items():
        if 'running' not in name:  # batch norm's statistics are each process's own
            assert torch.equal(weight, second['weights'][name]), name
    for iteration, (ours, theirs) in enumerate(zip(first['features'], second['features'])):
        for level, ((x, y), (other_x, other_y)) in enumerate(zip(ours, theirs)):
            assert torch.equal(x, other_x) or iteration > 0
            # Each process's noise is that of its rank, and so the ranks differ.
            assert torch.equal(y, FeatureNoise('cct')(x, (3, 0, iteration, 0, level)))
            assert torch.equal(other_y, FeatureNoise('cct')(other_x, (3, 1, iteration, 0, level)))
            alive = (x != 0) & (other_x != 0)
            factors = torch.stack([(y / x)[alive], (other_y / other_x)[alive]])
            # 5 standard deviations for as many numbers as the samples, which share a draw, show of it.
            assert abs(torch.corrcoef(factors)[0, 1]) < 5 / math.sqrt(alive.any(dim=0).sum())

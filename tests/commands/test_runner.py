from argparse import Namespace

import pytest
from mmengine.config import Config

from fnoise_mmdet.commands.runner import apply_training_options
from fnoise_mmdet.errors import InputError


def test_the_learning_rate_is_scaled_for_the_batch_that_it_is_meant_for(root, shapes):
    cfg = Config.fromfile(root / 'configs/demo_baseline.py')
    args = Namespace(from_scratch=False, amp=False, auto_scale_lr=True, data_root=str(shapes), semi=None)
    apply_training_options(cfg, args)
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=4)
    cfg.pop('auto_scale_lr')
    with pytest.raises(InputError, match=r'needs: add, for example, auto_scale_lr=dict\(base_batch_size'):
        apply_training_options(cfg, args)

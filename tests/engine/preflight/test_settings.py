import pytest
import torch
from mmengine.dataset import InfiniteSampler

from fnoise_mmdet.engine.preflight import (
    check_device,
    check_device_option,
    check_loops,
    warn_of_learning_rate,
    warn_of_no_validation,
)
from fnoise_mmdet.errors import InputError


@pytest.mark.parametrize('device', ['foo', 'cuda:99', 'meta:abc'])
def test_a_device_that_torch_does_not_have_is_named(device):
    check_device_option(None)
    check_device_option('cpu')
    with pytest.raises(InputError, match=f'--device {device} cannot be used: '):
        check_device_option(device)


def test_the_devices_of_this_machine_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    message = '--device cupu cannot be used: torch has no such device; possible here: cpu, cuda:0, cuda:1, did you '
    with pytest.raises(InputError, match=message + 'mean cpu'):
        check_device_option('cupu')


def test_requirements_of_mixed_precision_are_reported(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.settings.computes_in_bfloat16', lambda: False)
    check_device(cfg)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    with pytest.raises(InputError, match='mixed precision by AmpOptimWrapper needs a GPU'):
        check_device(cfg)
    cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    with pytest.raises(InputError, match='needs a GPU, or a CPU with bfloat16 arithmetic'):
        check_device(cfg)
    monkeypatch.setattr('fnoise_mmdet.engine.preflight.settings.computes_in_bfloat16', lambda: True)
    check_device(cfg)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    check_device(cfg)


@pytest.mark.parametrize(
    ('batch', 'enable', 'warns'), [(4, False, False), (2, False, False), (1, False, True), (1, True, False)]
)
def test_a_learning_rate_of_another_batch_size_is_warned_of(cfg, capsys, batch, enable, warns):
    cfg.merge_from_dict({'train_dataloader.batch_size': batch, 'auto_scale_lr.enable': bool(enable)})
    warn_of_learning_rate(cfg)
    text = capsys.readouterr().out
    assert ('meant for a batch size of 4, but it is 1' in text and 'lr=0.0005' in text) == warns


def test_the_batch_of_a_learning_rate_is_that_of_all_processes(cfg, capsys, monkeypatch):
    cfg.merge_from_dict({'train_dataloader.batch_size': 1, 'launcher': 'slurm'})
    monkeypatch.setenv('SLURM_NTASKS', '4')
    warn_of_learning_rate(cfg)
    assert not capsys.readouterr().out


@pytest.mark.parametrize('part', ['train', 'val'])
@pytest.mark.parametrize(
    'sampler', ['InfiniteSampler', InfiniteSampler, 'MultiSourceSampler', 'GroupMultiSourceSampler']
)
def test_a_loop_that_cannot_end_is_refused(cfg, part, sampler):
    cfg[f'{part}_dataloader'].sampler = dict(type=sampler)
    with pytest.raises(InputError, match=rf'would never end: {part}_dataloader.sampler is \w+Sampler'):
        check_loops(cfg)
    if part == 'train':
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=10)
        check_loops(cfg)


def test_a_validation_interval_of_none_is_refused(cfg):
    cfg.train_cfg.val_interval = 0
    with pytest.raises(InputError, match='train_cfg.val_interval must be >= 1, but is 0'):
        check_loops(cfg)


def test_a_training_that_never_validates_is_warned_of(cfg, capsys):
    cfg.train_cfg.update(val_interval=1000)
    warn_of_no_validation(cfg)
    assert not capsys.readouterr().out, 'the last epoch is always validated'
    cfg.train_cfg.update(val_begin=9, max_epochs=4)
    warn_of_no_validation(cfg)
    assert 'never validates: it ends after 4 epochs, before train_cfg.val_begin=9' in capsys.readouterr().out
    cfg.val_dataloader = None
    warn_of_no_validation(cfg)
    assert 'never validates: the config has no val_dataloader' in capsys.readouterr().out


def test_accumulated_gradients_count_in_the_learning_rate(cfg, capsys):
    cfg.auto_scale_lr = dict(base_batch_size=32)
    cfg.train_dataloader.batch_size = 4
    cfg.optim_wrapper.accumulative_counts = 8
    warn_of_learning_rate(cfg)
    assert not capsys.readouterr().out
    cfg.optim_wrapper.accumulative_counts = 1
    warn_of_learning_rate(cfg)
    assert 'is meant for a batch size of 32, but it is 4' in capsys.readouterr().out

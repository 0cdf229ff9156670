import os

import pytest
import torch
from mmengine.config import Config

from fnoise_mmdet.engine import distributed
from fnoise_mmdet.errors import InputError


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """An environment of no launcher."""
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'SLURM_STEP_NODELIST', 'SLURM_NODELIST'):
        monkeypatch.delenv(name, raising=False)
    for names in distributed.VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('launcher', list(distributed.VARIABLES))
def test_rank_is_that_of_the_launcher(monkeypatch, launcher):
    assert distributed.is_main_process()
    monkeypatch.setenv(distributed.VARIABLES[launcher][0], '3')
    assert distributed.rank() == 3 and not distributed.is_main_process()


@pytest.mark.parametrize('launcher', list(distributed.VARIABLES))
def test_world_size_is_that_of_the_launcher(monkeypatch, launcher):
    monkeypatch.setenv(distributed.VARIABLES[launcher][1], '4')
    assert distributed.world_size(launcher) == 4
    assert distributed.world_size('none') == 1  # as in an allocation of Slurm, outside of srun


@pytest.mark.parametrize('launcher', list(distributed.VARIABLES))
def test_a_launcher_that_has_started_nothing_is_named(monkeypatch, launcher):
    distributed.check_launcher('none')
    rank, world_size, _ = distributed.VARIABLES[launcher]
    with pytest.raises(InputError, match=f'started by .*: {rank} and {world_size} must be set') as caught:
        distributed.check_launcher(launcher)
    assert 'tools/' not in str(caught.value).replace('in a checkout tools/', '')
    monkeypatch.setenv(rank, '0')
    with pytest.raises(InputError, match=f': {world_size} must be set'):
        distributed.check_launcher(launcher)
    monkeypatch.setenv(world_size, '1')
    distributed.check_launcher(launcher)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    for name, value in zip(distributed.VARIABLES['pytorch'], '454'):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match='has 2 GPUs, too few for process 5 on it'):
        distributed.check_launcher('pytorch')


def test_nothing_is_done_without_a_launcher_or_with_a_gpu(monkeypatch):
    monkeypatch.setattr(distributed.dist, 'init_process_group', lambda *args, **kwargs: pytest.fail('a group is made'))
    cfg = Config(dict(launcher='none'))
    distributed.use_cpus(cfg)
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    distributed.use_cpus(Config(dict(launcher='pytorch')))
    assert 'model_wrapper_cfg' not in cfg


def test_slurm_processes_on_cpus_meet_on_the_first_machine(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(distributed.dist, 'init_process_group', lambda *args, **kwargs: made.append((args, kwargs)))
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    (tmp_path / 'scontrol').write_text('#!/bin/sh\necho "first\nsecond $*"\n')
    (tmp_path / 'scontrol').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    for name, value in dict(SLURM_PROCID='1', SLURM_NTASKS='2', SLURM_LOCALID='0', SLURM_NODELIST='n[1-2]').items():
        monkeypatch.setenv(name, value)
    for name in distributed.VARIABLES['pytorch']:  # undone with the others
        monkeypatch.setenv(name, '')
    cfg = Config(dict(launcher='slurm', env_cfg=dict(dist_cfg=dict(timeout=60)), find_unused_parameters=True))
    distributed.use_cpus(cfg)
    ((backend,), settings) = made[0]
    assert backend == 'gloo' and settings['timeout'].total_seconds() == 60
    assert [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')] == ['1', '2', '0']
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == ('first', '29500')
    assert cfg.model_wrapper_cfg.device_ids is None and cfg.model_wrapper_cfg.find_unused_parameters

    del os.environ['MASTER_ADDR']
    (tmp_path / 'scontrol').write_text('#!/bin/sh\nexit 1\n')
    with pytest.raises(InputError, match='set it with MASTER_ADDR'):
        distributed.use_cpus(cfg)
    os.environ.pop('MASTER_ADDR', None)
    os.environ.pop('MASTER_PORT', None)

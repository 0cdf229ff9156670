"""Data loaders of users' own: every hook of our configs runs with them, and none takes part of the data away."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import IterableDataset

from fnoise_mmdet.config import load_config, use_data_root
from fnoise_mmdet.engine.hooks import CorruptImageHook


@DATASETS.register_module()
class Stream(IterableDataset):
    """A data set without a length, as one that reads from a queue."""

    def __init__(self, dataset):
        self.inner = DATASETS.build(dataset)
        self.metainfo = self.inner.metainfo

    def __iter__(self):
        return map(self.inner.__getitem__, range(len(self.inner)))


@TRANSFORMS.register_module()
class LoadOtherwise(LoadImageFromFile):
    """A loader of files that OpenCV cannot read."""


class Seen(Hook):
    """Note the images of every iteration."""

    def __init__(self):
        self.batches = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.batches.append([sample.img_id for sample in data_batch['data_samples']])


@pytest.fixture
def seen(monkeypatch):
    """A hook that every runner has."""
    hook, register = Seen(), Runner.register_hooks

    def register_all(runner, *args):
        register(runner, *args)
        runner.register_hook(hook)

    monkeypatch.setattr(Runner, 'register_hooks', register_all)
    return hook


def record(runner):
    return json.loads((Path(runner.work_dir) / 'run.json').read_text())


HOOKS = ('EpochLossHook', 'SNRHook', 'ValidationLossHook', 'RunRecordHook', 'ExactResumeHook', 'FiniteLossHook')


def options_of(**options):
    hooks = [dict(type=name) for name in (*HOOKS, 'CorruptImageHook', 'GracefulStopHook')]
    return dict(options, custom_hooks=[*hooks, dict(type='FeatureMapHook', interval=2, images=0)])


def by_iteration():
    return {'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=3, val_interval=3)}


def test_a_stream_of_images(train, root, seen):
    dataset = Config.fromfile(root / 'configs/demo_fnoise.py').train_dataloader.dataset.to_dict()
    options = {
        'train_dataloader.dataset': dict(_delete_=True, type='Stream', dataset=dataset),
        'param_scheduler': None,  # mmengine scales it by the length of an epoch,
        'default_hooks.logger': None,  # and asks for that here, too
        'train_dataloader.sampler': None,
        'train_dataloader.batch_sampler': None,
        'default_hooks.checkpoint.by_epoch': False,
        'log_processor.by_epoch': False,
    }
    runner = train('demo_fnoise.py', **options_of(**options), **by_iteration())
    assert [len(batch) for batch in seen.batches] == [4, 4, 4]
    assert record(runner)['iterations_per_epoch'] is None and record(runner)['data']['train']['images'] is None


def test_a_sampler_without_an_end(train, seen):
    sampler = {'train_dataloader.sampler': dict(type='InfiniteSampler'), 'train_dataloader.batch_sampler': None}
    train('demo_fnoise.py', **options_of(**sampler), **by_iteration())
    assert len({image for batch in seen.batches for image in batch}) == 12


def test_some_batches_per_epoch(train, seen):
    options = {'train_dataloader.num_batch_per_epoch': 1, 'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 2}
    runner = train('demo_fnoise.py', **options_of(**options))
    assert len(seen.batches) == 2 and record(runner)['iterations_per_epoch'] == 1


def loading(cfg):
    loader = Runner.build_dataloader(cfg.train_dataloader)
    CorruptImageHook().before_train(SimpleNamespace(train_dataloader=loader))
    return loader.dataset


@pytest.fixture
def cfg(root, shapes):
    cfg = load_config(str(root / 'configs/demo_fnoise.py'))
    use_data_root(cfg, str(shapes), required=('train', 'val'))
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    return cfg


def test_images_are_guarded_for_any_number_of_batches(cfg):
    cfg.train_dataloader.num_batch_per_epoch = 1
    assert 'prepare_data' in vars(loading(cfg)._dataset)


@pytest.mark.parametrize(
    'loader', [dict(type='LoadOtherwise'), dict(type='LoadImageFromFile', imdecode_backend='tifffile')]
)
def test_images_that_another_loader_reads_are_not_guarded(cfg, loader):
    assert 'prepare_data' in vars(loading(cfg))
    cfg.train_dataloader.dataset.pipeline[0] = loader
    assert 'prepare_data' not in vars(loading(cfg))

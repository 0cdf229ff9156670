import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from fnoise_mmdet.engine.hooks.exact_resume import NumberedBatch, NumberedBatches, SeededSamples, seed_streams


def draw():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


class Draws(Dataset):
    """A data set that gives what a sample draws."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, draw()


def loaded(workers, epoch=0, skip=0, seed=0, rank=0, processes=1):
    """Load an epoch as the hook has it loaded."""
    dataset = Draws()
    dataset.__getitems__ = SeededSamples(dataset)
    dataset.__getitems__.rank, dataset.__getitems__.processes = rank, processes
    sampler = range(len(dataset))[rank::processes]  # as mmengine's DefaultSampler
    batches = NumberedBatches(BatchSampler(sampler, 4 // processes, drop_last=False), (seed, 0))
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=list)
    batches.begin(epoch, skip)
    return list(loader)


def test_streams_are_a_function_of_the_key_alone():
    seed_streams((1, 2, 3))
    first = draw()
    assert draw() != first
    seed_streams((1, 2, 3))
    assert draw() == first
    for other in ((1, 2, 4), (0, 2, 3), (1, 2, 3, 1)):  # trailing zeros would not count
        seed_streams(other)
        assert draw() != first


def test_samples_are_the_same_for_any_number_of_workers():
    alone = loaded(0)
    assert [index for batch in alone for index, _ in batch] == list(range(10))
    assert loaded(1) == alone and loaded(2) == alone


def test_samples_are_the_same_however_they_are_dealt_to_processes():
    dealt = zip(*(loaded(0, epoch=1, rank=rank, processes=2) for rank in range(2)))
    together = [[sample for pair in zip(*parts) for sample in pair] for parts in dealt]
    assert together == loaded(0, epoch=1)


def test_samples_differ_by_place_epoch_and_seed():
    draws = [str(drawn) for batch in loaded(0) + loaded(0, epoch=1) + loaded(0, seed=1) for _, drawn in batch]
    assert len(set(draws)) == 30


@pytest.mark.parametrize('skip', [1, 2, 3])
def test_epoch_resumes_where_it_stopped(skip):
    assert loaded(0, epoch=2, skip=skip) == loaded(0, epoch=2)[skip:]


def test_a_second_pass_over_the_data_draws_anew_and_skips_nothing():
    batches = NumberedBatches(BatchSampler(SequentialSampler(range(4)), 2, drop_last=False), (0, 0))
    batches.begin(epoch=0)
    keys = [batch.key for batch in batches] + [batch.key for batch in batches]
    assert len(set(keys)) == 4


def test_batches_are_counted_from_the_first():
    def keys(begin=0, **settings):
        batches = NumberedBatches(BatchSampler(SequentialSampler(range(begin, 8)), 2, drop_last=False), (0, 0))
        batches.begin(epoch=0, **settings)
        return [batch.key for batch in batches]

    assert keys(4, first=2) == keys()[2:]


def test_numbered_batches_are_the_sampler_in_everything_else():
    inner = BatchSampler(SequentialSampler(range(4)), 2, drop_last=False)
    batches = NumberedBatches(inner, (0, 0))
    assert len(batches) == 2 and batches.sampler is inner.sampler and batches.batch_size == 2
    assert [list(batch) for batch in batches] == [[0, 1], [2, 3]]
    assert isinstance(next(iter(batches)), NumberedBatch)
    assert not hasattr(batches, 'nothing')


class DrawingSampler:
    """A sampler that draws each index from the global streams, as mmdet's GroupMultiSourceSampler its groups."""

    def __iter__(self):
        yield int(torch.randint(1000, ()))
        for _ in range(11):
            yield int(np.random.choice(1000)) + random.randrange(1000)


@pytest.mark.parametrize('workers', [0, 2])
def test_samplers_that_draw_resume_where_they_stopped(workers):
    def run(skip):
        torch.rand(skip + 1), np.random.rand(skip + 1)  # streams in another state
        batches = NumberedBatches(BatchSampler(DrawingSampler(), 2, drop_last=False), (3, 0))
        batches.begin(epoch=1, skip=skip)
        return [found.tolist() for found in DataLoader(range(3000), batch_sampler=batches, num_workers=workers)]

    whole = run(0)
    assert len({index for batch in whole for index in batch}) > 6
    assert run(2) == whole[2:]


def test_what_was_stopped_after_its_last_iteration_ends_as_if_it_had_not_been(train, monkeypatch):
    whole = train('demo_fnoise.py', 'whole')
    options = {'default_hooks.checkpoint.iter_interval': 4}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('fnoise_mmdet.engine.hooks.SafeCheckpointHook.after_train_epoch', interrupt)
        train('demo_fnoise.py', 'stopped', **options)
    point = Path(whole.work_dir).with_name('stopped') / 'resume.pth'
    resumed = train('demo_fnoise.py', 'resumed', resume=True, load_from=str(point), **options)
    ends = [torch.load(f'{runner.work_dir}/epoch_1.pth', weights_only=False) for runner in (whole, resumed)]
    assert ends[0]['message_hub']['runtime_info']['iter'] == ends[1]['message_hub']['runtime_info']['iter'] == 3
    assert ends[0]['meta']['iter'] == ends[1]['meta']['iter'] == 4
    for name, weight in ends[0]['state_dict'].items():
        assert torch.equal(weight, ends[1]['state_dict'][name])


@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler', 'GroupMultiSourceSampler'])
def test_resumed_iteration_based_training(train, read_rows, sampler, monkeypatch, root):
    """Nothing is loaded to be dropped, except by mmengine before 0.10.12."""
    dataset = Config.fromfile(root / 'configs/demo_fnoise.py').train_dataloader.dataset
    loaded = []
    load = SeededSamples.__call__
    monkeypatch.setattr(SeededSamples, '__call__', lambda self, batch: loaded.append(batch.key) or load(self, batch))

    def run(name, **options):
        loop = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=6, val_interval=6)
        checkpoint = dict(_delete_=True, type='CheckpointHook', by_epoch=False, interval=2)
        settings = {
            'train_dataloader.batch_sampler': None,
            'train_dataloader.sampler': dict(_delete_=True, type=sampler, shuffle=True),
            'default_hooks.checkpoint': checkpoint,
        }
        if sampler == 'GroupMultiSourceSampler':
            settings['train_dataloader.sampler'] |= dict(batch_size=4, source_ratio=[1, 1])
            sources = dict(_delete_=True, type='ConcatDataset', datasets=[dataset, dataset])
            settings['train_dataloader.dataset'] = sources
        return train('demo_fnoise.py', name, train_cfg=loop, **settings, **options)

    whole = run('whole')
    assert len(loaded) == 6
    resumed = run('resumed', resume=True, load_from=f'{whole.work_dir}/iter_2.pth')
    can_skip = hasattr(_InfiniteDataloaderIterator, 'skip_iter')  # since mmengine 0.10.12
    assert loaded[6:] == (loaded[2:6] if can_skip else loaded[:6])
    expected, found = ([row['loss'] for row in read_rows(run) if 'loss' in row] for run in (whole, resumed))
    assert found[-4:] == expected[-4:]
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def interrupt(*_):
    raise KeyboardInterrupt

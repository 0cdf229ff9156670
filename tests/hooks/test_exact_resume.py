import random

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from fnoise_mmdet.hooks.exact_resume import NumberedBatch, NumberedBatches, SeededSamples, seed_streams


def draw():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


class Draws(Dataset):
    """A data set that gives what a sample draws."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, draw()


def loaded(workers, epoch=0, skip=0, seed=0):
    """Load an epoch as the hook has it loaded."""
    dataset = Draws()
    dataset.__getitems__ = SeededSamples(dataset)
    batches = NumberedBatches(BatchSampler(SequentialSampler(dataset), 3, drop_last=False), (seed, 0))
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


def test_samples_differ_by_place_epoch_and_seed():
    draws = [str(drawn) for batch in loaded(0) + loaded(0, epoch=1) + loaded(0, seed=1) for _, drawn in batch]
    assert len(set(draws)) == 30


@pytest.mark.parametrize('skip', [1, 3, 4])
def test_an_epoch_goes_on_where_it_was(skip):
    assert loaded(0, epoch=2, skip=skip) == loaded(0, epoch=2)[skip:]


def test_a_second_pass_over_the_data_draws_anew_and_skips_nothing():
    batches = NumberedBatches(BatchSampler(SequentialSampler(range(4)), 2, drop_last=False), (0, 0))
    batches.begin(epoch=0)
    keys = [batch.key for batch in batches] + [batch.key for batch in batches]
    assert len(set(keys)) == 4


def test_numbered_batches_are_the_sampler_in_everything_else():
    inner = BatchSampler(SequentialSampler(range(4)), 2, drop_last=False)
    batches = NumberedBatches(inner, (0, 0))
    assert len(batches) == 2 and batches.sampler is inner.sampler and batches.batch_size == 2
    assert [list(batch) for batch in batches] == [[0, 1], [2, 3]]
    assert isinstance(next(iter(batches)), NumberedBatch)
    assert not hasattr(batches, 'nothing')

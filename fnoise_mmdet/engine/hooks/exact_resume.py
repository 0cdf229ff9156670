"""Resuming a training as if it had never been interrupted."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import broadcast, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from ...datasets.files import write_atomically

# What keeps the streams of iterations and of samples apart where their keys are of the same numbers.
ITERATION, SAMPLE = 0, 1


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make a resumed training the one that was not interrupted, to the last bit on a CPU.

    Rather than to save the state of every random stream, in every process and
    every worker, the hook makes the streams functions of where the training
    is, as the noise's own is. Each iteration begins with the streams of torch
    (of every device), NumPy and ``random`` seeded by (seed, rank, iteration),
    and each sample is loaded with those of (seed, epoch, batch, place among
    the samples that all processes load for it). So neither workers nor
    validations matter to what is drawn, and the augmentation is the same for
    any number of workers and, with as many images an iteration, of processes.

    A training that is resumed within an epoch goes on with the epoch's next
    batch; those before it are not loaded again. Its log begins with that of
    the interrupted one up to the checkpoint: a file for the whole training,
    without a gap and without a line twice.

    Of several processes each validates with the buffers of the first, batch
    norm's running statistics among them: a checkpoint holds no others.

    What a checkpoint does not hold cannot be restored: gradients that are
    being accumulated over several iterations, and what a transform keeps of
    earlier images (mmdet's ``CachedMosaic``, ``CachedMixUp``).
    """

    priority = 'VERY_HIGH'  # whatever another hook draws, it draws from the iteration's streams

    def __init__(self) -> None:
        self._batches: NumberedBatches | None = None
        self._may_begin_within = False
        self._log: tuple[str, int] | None = None  # of the checkpoint: file within the work dir, bytes

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note how long the log was when the checkpoint was saved."""
        self._log = checkpoint.get('log')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note how long the log is."""
        log = _log_file(runner)
        size = log.stat().st_size if log.is_file() else 0
        checkpoint['log'] = (log.relative_to(Path(runner.work_dir).absolute()).as_posix(), size)

    def before_train(self, runner: Runner) -> None:
        """Take over the loading of samples, and the log of the training that is resumed."""
        loader = runner.train_dataloader
        sampler = getattr(loader, 'batch_sampler', None)  # None of a stream of batches, and of a loader of another kind
        if sampler is not None and not isinstance(sampler, NumberedBatches):
            self._batches = NumberedBatches(sampler, (runner.seed or 0, 0))  # 0: of no rank
            # DataLoader refuses another sampler once it is made, because an iterator may be using the old one.
            object.__setattr__(loader, 'batch_sampler', self._batches)
            loader.dataset.__getitems__ = SeededSamples(loader.dataset)  # torch's protocol for loading a whole batch
            if isinstance(runner.train_loop, IterBasedTrainLoop):  # which has begun to iterate already
                iterator = runner.train_loop.dataloader_iterator
                runner.train_loop.dataloader_iterator = type(iterator)(loader)
        self._may_begin_within = bool(runner._resume)
        if runner._resume and is_main_process():
            self._join_log(runner)

    def _join_log(self, runner: Runner) -> None:
        if self._log is None:
            runner.logger.warning('the checkpoint was saved without ExactResumeHook: its log is not gone on with')
            return
        name, size = self._log
        folder, new = Path(runner.work_dir).resolve(), _log_file(runner)
        old = (folder / name).resolve()
        # Of this run alone: a checkpoint, and links in its work dir, may name any file.
        if not old.is_relative_to(folder) or old.parts[-2:] != new.parts[-2:]:
            runner.logger.warning('the checkpoint names a log outside its work dir, which is not continued')
            return
        if not size or not old.is_file() or old.stat().st_size < size:
            return
        with old.open('rb') as file:
            begun = file.read(size)
        new.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(new, begun)

    def before_train_epoch(self, runner: Runner) -> None:
        """Have the epoch begin, or go on where it was interrupted."""
        loop = runner.train_loop
        if self._batches is None:
            return
        if not isinstance(loop, EpochBasedTrainLoop):  # mmengine's other loop leaves out batches by itself
            self._batches.begin(epoch=0)
            return
        # A loop of another kind may have epochs of another length: only a resumed one begins within an epoch.
        done = loop.iter - loop.epoch * len(loop.dataloader) if self._may_begin_within else 0
        self._may_begin_within = False
        self._batches.begin(epoch=loop.epoch, skip=done)
        if done:  # the loop counts the batches that it is given
            run_iter = loop.run_iter
            loop.run_iter = lambda idx, data_batch: run_iter(idx + done, data_batch)
        if done == len(loop.dataloader):  # no iteration is left to say which was the last
            runner.message_hub.update_info('iter', loop.iter - 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Let the loop count for itself again."""
        vars(runner.train_loop).pop('run_iter', None)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Seed what the iteration draws from."""
        seed_streams((runner.seed or 0, get_rank(), ITERATION, runner.iter))

    def before_val_epoch(self, runner: Runner) -> None:
        """Take over the buffers of the first process."""
        for buffer in runner.model.buffers():
            broadcast(buffer)


class NumberedBatches:
    """A batch sampler whose batches know their random streams.

    Args:
        batch_sampler: The sampler whose batches are given on.
        key: Non-negative integers that the keys of the batches begin with.
    """

    def __init__(self, batch_sampler: Any, key: Sequence[int]) -> None:
        self.batch_sampler = batch_sampler
        self.key = tuple(key)
        self.begin(epoch=0)

    def begin(self, epoch: int, skip: int = 0) -> None:
        """Begin an epoch, its first ``skip`` batches left out."""
        self._epoch, self._skip, self._passes = epoch, skip, 0

    def __iter__(self) -> Iterator[list]:
        key = (*self.key, SAMPLE, self._epoch, self._passes)
        self._passes += 1
        for number, indices in enumerate(self.batch_sampler):
            if number >= self._skip:
                yield NumberedBatch(indices, (*key, number))

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        """Be the batch sampler in everything else: mmengine sets the epoch of its ``sampler``."""
        return getattr(vars(self)['batch_sampler'], name)


class NumberedBatch(list):
    """Indices of samples, with the key of their random streams."""

    def __init__(self, indices: Sequence[Any], key: Sequence[int]) -> None:
        super().__init__(indices)
        self.key = tuple(key)


class SeededSamples:
    """Load the samples of a batch, each with random streams of its own."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.rank, self.processes = get_rank(), get_world_size()  # which a worker cannot ask for

    def __call__(self, batch: NumberedBatch) -> list[Any]:
        samples = []
        for place, index in enumerate(batch):
            # As mmengine's samplers deal samples out: to each process one, in turns.
            seed_streams((*batch.key, place * self.processes + self.rank))
            samples.append(self.dataset[index])
        return samples


def seed_streams(key: Sequence[int]) -> None:
    """Seed the streams of torch, NumPy and ``random`` by a key of non-negative integers."""
    state = np.random.SeedSequence(key).generate_state(4, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))
    np.random.seed(state[1:3].view(np.uint32))
    random.seed(int(state[3]))


def _log_file(runner: Runner) -> Path:
    """Return the file to which mmengine's local back end writes scalars."""
    return Path(runner.log_dir).absolute() / 'vis_data' / 'scalars.json'

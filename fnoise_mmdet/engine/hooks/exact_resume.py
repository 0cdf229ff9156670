"""Hook that makes a resumed training identical to an uninterrupted one."""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.datasets.samplers import MultiSourceSampler
from mmdet.registry import HOOKS
from mmengine.dist import broadcast, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from ...datasets.files import write_atomically

# Domain separation between the random streams of iterations, samples and samplers.
ITERATION, SAMPLE, BATCH = 0, 1, 2


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make a resumed training identical to an uninterrupted one, bitwise on a CPU.

    Instead of saving the state of every random stream, the hook derives the
    streams from the position in the training. Each iteration seeds torch (all
    devices), NumPy and ``random`` by (seed, rank, iteration), each sample
    is loaded with streams seeded by (seed, epoch, batch, index within the
    global batch), and a sampler that draws a batch from them does so with
    streams seeded by (seed, epoch, batch). Random numbers are therefore independent of workers and
    validations, and the augmentation is the same for any number of workers,
    and of processes for the same global batch size.

    A training resumed within an epoch continues with its next batch without
    loading the earlier ones. Its log starts with the log of the interrupted
    training up to the checkpoint, so one file covers the whole training
    without gaps or duplicates.

    With several processes, all validate with the buffers of rank 0, such as
    the running statistics of batch norm, since only these are in the checkpoint.

    State that is not in a checkpoint cannot be restored: gradients being
    accumulated over several iterations, and caches of transforms (mmdet's
    ``CachedMosaic``, ``CachedMixUp``).
    """

    priority = 'VERY_HIGH'  # before any hook that draws random numbers

    def __init__(self) -> None:
        self._batches: NumberedBatches | None = None
        self._may_begin_within = False
        self._log: tuple[str, int] | None = None  # from the checkpoint: log file within the work dir, bytes

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read the log position from the checkpoint."""
        self._log = checkpoint.get('log')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the log position in the checkpoint."""
        log = _log_file(runner)
        size = log.stat().st_size if log.is_file() else 0
        checkpoint['log'] = (log.relative_to(Path(runner.work_dir).absolute()).as_posix(), size)

    def before_train(self, runner: Runner) -> None:
        """Wrap the data loading, and continue the log of the resumed training."""
        loader = runner.train_dataloader
        sampler = getattr(loader, 'batch_sampler', None)  # None for iterable data sets and other loaders
        if sampler is not None and not isinstance(sampler, NumberedBatches):
            self._batches = NumberedBatches(sampler, (runner.seed or 0, 0))  # 0: the same for all ranks
            # DataLoader does not allow replacing its sampler after construction.
            object.__setattr__(loader, 'batch_sampler', self._batches)
            loader.dataset.__getitems__ = SeededSamples(loader.dataset)  # torch's protocol for loading a batch
            if isinstance(runner.train_loop, IterBasedTrainLoop):  # mmengine before 0.10.12 has created the iterator
                iterator = runner.train_loop.dataloader_iterator
                runner.train_loop.dataloader_iterator = type(iterator)(loader)
        self._may_begin_within = bool(runner._resume)
        if runner._resume and is_main_process():
            self._join_log(runner)

    def _join_log(self, runner: Runner) -> None:
        if self._log is None:
            runner.logger.warning('the checkpoint was saved without ExactResumeHook: its log is not continued')
            return
        name, size = self._log
        folder, new = Path(runner.work_dir).resolve(), _log_file(runner)
        old = (folder / name).resolve()
        # Accept only logs of this run: an untrusted checkpoint or link may name any file.
        if not old.is_relative_to(folder) or old.parts[-2:] != new.parts[-2:]:
            runner.logger.warning('the log of the checkpoint is outside the work dir: it is not continued')
            return
        if not size or not old.is_file() or old.stat().st_size < size:
            return
        with old.open('rb') as file:
            begun = file.read(size)
        new.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(new, begun)

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the epoch, or continue it where it was interrupted."""
        loop = runner.train_loop
        if self._batches is None:
            return
        if not isinstance(loop, EpochBasedTrainLoop):
            # IterBasedTrainLoop skips in the sampler, if that can skip; else it loads the batches and drops them.
            sampler = loop.dataloader.sampler
            if isinstance(sampler, MultiSourceSampler):  # which is infinite: all of its batches are of one pass
                sampler.skip = lambda samples: self._batches.begin(epoch=0, skip=loop.iter)
            elif hasattr(sampler, 'skip'):
                self._batches.begin(epoch=0, first=loop.iter)
            return
        # Only a resumed training starts within an epoch.
        done = loop.iter - loop.epoch * len(loop.dataloader) if self._may_begin_within else 0
        self._may_begin_within = False
        self._batches.begin(epoch=loop.epoch, skip=done)
        if done:  # the loop counts only the batches that it gets
            run_iter = loop.run_iter
            loop.run_iter = lambda idx, data_batch: run_iter(idx + done, data_batch)
        if done == len(loop.dataloader):  # no iteration left that would set it
            runner.message_hub.update_info('iter', loop.iter - 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Restore the counting of the loop."""
        vars(runner.train_loop).pop('run_iter', None)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Seed the random streams of the iteration."""
        seed_streams((runner.seed or 0, get_rank(), ITERATION, runner.iter))

    def before_val_epoch(self, runner: Runner) -> None:
        """Broadcast the buffers of rank 0."""
        for buffer in runner.model.buffers():
            broadcast(buffer)


class NumberedBatches:
    """A batch sampler that attaches the key of the random streams to each batch.

    Args:
        batch_sampler: The wrapped batch sampler.
        key: Non-negative integers, the prefix of the keys.
    """

    def __init__(self, batch_sampler: Any, key: Sequence[int]) -> None:
        self.batch_sampler = batch_sampler
        self.key = tuple(key)
        self.begin(epoch=0)

    def begin(self, epoch: int, skip: int = 0, first: int = 0) -> None:
        """Start an epoch, skipping its first ``skip`` batches and counting from ``first``."""
        self._epoch, self._skip, self._first, self._passes = epoch, skip, first, 0

    def __iter__(self) -> Iterator[list]:
        place = (self._epoch, self._passes)
        self._passes += 1
        seed_streams((*self.key, BATCH, *place))  # samplers may draw when they start, or for each batch
        batches = iter(self.batch_sampler)
        for number in itertools.count(self._first):
            seed_streams((*self.key, BATCH, *place, number + 1))  # a trailing 0 would not count
            try:
                indices = next(batches)
            except StopIteration:
                return
            if number >= self._skip:
                yield NumberedBatch(indices, (*self.key, SAMPLE, *place, number))

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        """Forward other attributes, since mmengine sets the epoch of ``sampler``."""
        return getattr(vars(self)['batch_sampler'], name)


class NumberedBatch(list):
    """Sample indices with the key of their random streams."""

    def __init__(self, indices: Sequence[Any], key: Sequence[int]) -> None:
        super().__init__(indices)
        self.key = tuple(key)


class SeededSamples:
    """Load the samples of a batch, each with its own random streams."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.rank, self.processes = get_rank(), get_world_size()  # unknown in a worker

    def __call__(self, batch: NumberedBatch) -> list[Any]:
        samples = []
        for number, index in enumerate(batch):
            # mmengine's samplers distribute samples round-robin over the processes.
            seed_streams((*batch.key, number * self.processes + self.rank))
            samples.append(self.dataset[index])
        return samples


def seed_streams(key: Sequence[int]) -> None:
    """Seed the streams of torch, NumPy and ``random`` by a key of non-negative integers."""
    state = np.random.SeedSequence(key).generate_state(4, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))
    np.random.seed(state[1:3].view(np.uint32))
    random.seed(int(state[3]))


def _log_file(runner: Runner) -> Path:
    """Return the scalars file of mmengine's local backend."""
    return Path(runner.log_dir).absolute() / 'vis_data' / 'scalars.json'

"""Leaving a training that is told to stop, with everything saved."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import util
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .safe_checkpoint import SafeCheckpointHook

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _SignalTolerantWorker:
    """Begin a worker of a data loader that outlives a signal to the whole group, until the training has ended.

    Args:
        begin: What begins the worker otherwise.
        ended: Set when the training has ended: then a worker is told by signal to end, too.
    """

    def __init__(self, begin: Callable[[int], None] | None, ended: Event) -> None:
        self.begin, self.ended = begin, ended

    def __call__(self, worker: int) -> None:
        for number in SIGNALS:
            signal.signal(number, self._receive)
        if self.begin is not None:
            self.begin(worker)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.ended.is_set():
            os._exit(0)  # torch would take another status for a failure


@HOOKS.register_module()
class GracefulStopHook(Hook):
    """Have SIGTERM and Ctrl-C save a checkpoint to resume from, and end the training.

    The iteration or validation step that is under way is finished first. The
    process ends with status 128 and the number of the signal: 143 for SIGTERM,
    130 for Ctrl-C. A second signal ends it at once. Where gradients are
    accumulated, the training goes on to where they are applied.

    Several processes stop after the same iteration, whichever of them was
    told. A second signal changes nothing there: launchers pass on what the
    terminal has sent already, and kill what does not end (torchrun after 30
    seconds).
    """

    priority = 'LOWEST'  # after what belongs to the iteration, a regular checkpoint among it

    def __init__(self) -> None:
        self._received: int | None = None
        self._handlers: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Begin to listen, and have the workers of the training's loader leave signals to this process."""
        if threading.current_thread() is not threading.main_thread():  # Python allows it nowhere else
            return
        self._handlers = {number: signal.signal(number, self._receive) for number in SIGNALS}
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None:
                loader = loop.dataloader
                ended = (loader.multiprocessing_context or multiprocessing).Event()  # no other can be sent to a worker
                util.Finalize(None, ended.set, exitpriority=100)  # before multiprocessing ends the workers
                loader.worker_init_fn = _SignalTolerantWorker(loader.worker_init_fn, ended)

    def after_train(self, runner: Runner) -> None:
        """Restore the former signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            if get_world_size() == 1:
                os._exit(128 + number)
            return
        self._received = number
        name = signal.Signals(number).name
        more = '; once more stops it at once' if get_world_size() == 1 else ''
        if is_main_process():
            print(f'{name}: the training stops after this iteration{more}', file=sys.stderr)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Stop where it was asked for, and no gradients are being accumulated."""
        done = runner.iter + 1
        if done % getattr(runner.optim_wrapper, '_accumulative_counts', 1) == 0 or done == runner.max_iters:
            self._stop(runner, done)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Any = None
    ) -> None:
        """Stop in a validation of the training."""
        self._stop(runner, runner.iter)

    def _stop(self, runner: Runner, iteration: int) -> None:
        received = self._received_by_any() if self._handlers else 0
        if not received:
            return
        hook = next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
        if hook is None:
            runner.logger.warning('stopped without a checkpoint: default_hooks.checkpoint is no SafeCheckpointHook')
        else:
            hook.save_resume_point(runner, runner.epoch, iteration)
            runner.logger.info(f'stopped after {iteration} iterations; the same command with --resume goes on')
        raise SystemExit(128 + received)

    def _received_by_any(self) -> int:
        """Return the signal that any of the processes was sent, 0 where none was.

        A process that stopped by itself would leave the others waiting for it.
        """
        number = torch.tensor(self._received or 0)
        all_reduce(number, 'max')
        return int(number)

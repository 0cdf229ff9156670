"""Hook that saves a checkpoint and stops on SIGTERM or Ctrl-C."""

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
    """Start a data loader worker that ignores signals to the process group until the training has ended.

    Args:
        begin: The original worker function.
        ended: Set when the training has ended, after which signals end the worker.
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
            os._exit(0)  # torch treats other statuses as failures


@HOOKS.register_module()
class GracefulStopHook(Hook):
    """Save a checkpoint and stop the training on SIGTERM or Ctrl-C.

    The current iteration or validation step is finished first; with gradient
    accumulation, the training continues to the next optimizer step. The exit
    status is 128 plus the signal number: 143 for SIGTERM, 130 for Ctrl-C. A
    second signal stops the process immediately.

    In distributed training all processes stop after the same iteration,
    whichever received the signal. A second signal is ignored there, because
    launchers forward the signal of the terminal again, and kill processes that
    do not exit (torchrun after 30 seconds).
    """

    priority = 'LOWEST'  # after all other hooks, including regular checkpoints

    def __init__(self) -> None:
        self._received: int | None = None
        self._handlers: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Install the signal handlers, and make the workers of the training loader ignore signals."""
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
            return
        self._handlers = {number: signal.signal(number, self._receive) for number in SIGNALS}
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None:
                loader = loop.dataloader
                ended = (
                    loader.multiprocessing_context or multiprocessing
                ).Event()  # must come from the context of the workers
                util.Finalize(None, ended.set, exitpriority=100)  # before multiprocessing terminates the workers
                loader.worker_init_fn = _SignalTolerantWorker(loader.worker_init_fn, ended)

    def after_train(self, runner: Runner) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            if get_world_size() == 1:
                os._exit(128 + number)
            return
        self._received = number
        name = signal.Signals(number).name
        more = '; a second signal stops it immediately' if get_world_size() == 1 else ''
        if is_main_process():
            print(f'{name}: the training stops after this iteration{more}', file=sys.stderr)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Stop if requested and no gradients are being accumulated."""
        done = runner.iter + 1
        if done % getattr(runner.optim_wrapper, '_accumulative_counts', 1) == 0 or done == runner.max_iters:
            self._stop(runner, done)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Any = None
    ) -> None:
        """Stop during a validation of the training."""
        self._stop(runner, runner.iter)

    def _stop(self, runner: Runner, iteration: int) -> None:
        received = self._received_by_any() if self._handlers else 0
        if not received:
            return
        hook = next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
        if hook is None:
            runner.logger.warning('stopped without a checkpoint: default_hooks.checkpoint is not a SafeCheckpointHook')
        else:
            hook.save_resume_point(runner, runner.epoch, iteration)
            runner.logger.info(f'stopped after {iteration} iterations; resume with the same command and --resume')
        raise SystemExit(128 + received)

    def _received_by_any(self) -> int:
        """Return the signal received by any process, 0 if none.

        A process that stopped alone would block the others.
        """
        number = torch.tensor(self._received or 0)
        all_reduce(number, 'max')
        return int(number)

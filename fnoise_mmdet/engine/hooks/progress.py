"""Hook that logs the progress of slow iterations."""

import logging
import time
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class ProgressHook(Hook):
    """Log the line of mmengine's ``LoggerHook`` also if nothing was logged for a while.

    ``LoggerHook`` counts iterations: where each takes seconds, minutes pass between two of its lines. Only the log
    gets more lines; ``scalars.json`` and the other visualization back ends do not.

    Args:
        seconds: Log if nothing has been logged for so long. Defaults to 30.

    Raises:
        ValueError: If ``seconds`` is negative.
    """

    priority = 'VERY_LOW'  # after LoggerHook

    def __init__(self, seconds: float = 30) -> None:
        if seconds < 0:
            raise ValueError(f'seconds must be >= 0, but got {seconds}')
        self.seconds = seconds
        self._last = _LastRecord()

    def before_run(self, runner: Runner) -> None:
        """Watch what is logged."""
        runner.logger.addHandler(self._last)

    def after_run(self, runner: Runner) -> None:
        """Stop watching."""
        runner.logger.removeHandler(self._last)

    def _after_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = 'train'
    ) -> None:
        if time.monotonic() - self._last.time >= self.seconds:
            runner.logger.info(runner.log_processor.get_log_after_iter(runner, batch_idx, mode)[1])


class _LastRecord(logging.Handler):
    """Remember when something was last logged."""

    def __init__(self) -> None:
        super().__init__()
        self.time = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self.time = time.monotonic()

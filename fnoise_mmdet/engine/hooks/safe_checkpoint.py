"""Hook and file backend that save checkpoints atomically."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ...datasets.files import write_atomically
from ..resume import RESUME_POINT


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """Local file backend with atomic writes."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a temporary file, sync it to disk and rename it."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(filepath), obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text like :meth:`put`."""
        self.put(obj.encode(encoding), filepath)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` with atomic saves.

    An old checkpoint is removed only after the new one is on disk (mmengine
    removes it first), so there is always a checkpoint to resume from. This
    needs disk space for one more checkpoint.

    Args:
        iter_interval: Also save ``resume.pth`` every ``iter_interval``
            iterations, to resume within an epoch; it is removed after the next
            regular checkpoint. Defaults to None: it is saved only when the
            training is stopped by a signal.
        **kwargs: Arguments of ``CheckpointHook``.

    Raises:
        ValueError: If ``iter_interval`` is not positive.
    """

    def __init__(self, *, iter_interval: int | None = None, **kwargs: Any) -> None:
        if iter_interval is not None and iter_interval < 1:
            raise ValueError(f'iter_interval must be >= 1, but got {iter_interval}')
        if '://' not in str(kwargs.get('out_dir')):
            kwargs.setdefault('backend_args', dict(backend='atomic'))
        super().__init__(**kwargs)
        self.iter_interval = iter_interval
        self._saved: tuple[int, int] | None = None  # epoch and iteration of the last checkpoint

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Save a checkpoint if due."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.iter_interval and self.every_n_train_iters(runner, self.iter_interval):
            self.save_resume_point(runner, runner.epoch, runner.iter + 1)

    def save_resume_point(self, runner: Runner, epoch: int, iteration: int) -> None:
        """Save ``resume.pth``, unless this state is already saved.

        Args:
            runner: The runner of the training.
            epoch: Number of finished epochs.
            iteration: Number of finished iterations.
        """
        if self._saved == (epoch, iteration):
            return
        runner.save_checkpoint(
            runner.work_dir,
            RESUME_POINT,
            meta=dict(epoch=epoch, iter=iteration),
            by_epoch=False,
            backend_args=dict(backend='atomic'),
        )
        self._saved = epoch, iteration
        if is_main_process():
            path = Path(runner.work_dir) / RESUME_POINT
            write_atomically(Path(runner.work_dir) / 'last_checkpoint', str(path).encode())

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)
            self._saved = meta['epoch'], meta['iter']
        if is_main_process():
            (Path(runner.work_dir) / RESUME_POINT).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)

    file_backend: Any

    @contextlib.contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Defer removals until everything is saved; if that fails, nothing is removed."""
        backend = self.file_backend
        self.file_backend = postponed = _PostponedRemoval(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        for remove, path in postponed.removals:
            if path != self.last_ckpt:
                remove(path)


class _PostponedRemoval:
    """File backend that records removals instead of executing them."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.removals: list[tuple[Callable[[str], None], str]] = []

    def remove(self, path: str) -> None:
        self.removals.append((self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.removals.append((self.backend.rmtree, path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

"""What happens when an image of the training cannot be read."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..data.images import image_fault
from ..errors import InputError

ACTIONS = ('stop', 'skip')


@HOOKS.register_module()
class CorruptImageHook(Hook):
    """Name an image of the training that cannot be decoded.

    Args:
        action: ``'stop'`` ends the training with an error; ``'skip'`` takes
            another image instead, drawn by the data set, and counts. Defaults
            to ``'stop'``.

    Raises:
        ValueError: The action is unknown.
    """

    def __init__(self, action: str = 'stop') -> None:
        if action not in ACTIONS:
            raise ValueError(f'action must be one of {ACTIONS}, but got {action!r}')
        self.action = action
        self._skipped = multiprocessing.Value('i', 0)  # workers count too

    @property
    def skipped(self) -> int:
        """How often an image was skipped."""
        return self._skipped.value

    def before_train(self, runner: Runner) -> None:
        """Look after the loading of every data set."""
        for dataset in _innermost(runner.train_dataloader.dataset):
            if hasattr(dataset, 'prepare_data') and not isinstance(dataset.prepare_data, _Guarded):
                dataset.prepare_data = _Guarded(dataset, dataset.prepare_data, self.action, self._skipped)

    def after_train(self, runner: Runner) -> None:
        """Say how often an image was skipped."""
        if self.skipped:
            runner.logger.warning(f'images that cannot be read were skipped {self.skipped} times')


class _Guarded:
    """Load a sample; where its image is at fault, say so."""

    def __init__(self, dataset: Any, load: Callable[[int], Any], action: str, skipped: Any) -> None:
        self.dataset, self.load, self.action, self.skipped = dataset, load, action, skipped

    def __call__(self, index: int) -> Any:
        try:
            return self.load(index)
        except Exception as error:
            path = self.dataset.get_data_info(index).get('img_path')
            fault = None if path is None else image_fault(Path(path))
            if fault is None:  # something else is wrong
                raise
            if self.action == 'stop':
                raise InputError(
                    f'image {path} cannot be used, {fault}: replace it, remove it from the annotations, '
                    'or leave out such images with CorruptImageHook and action=skip'
                ) from error
            with self.skipped.get_lock():
                self.skipped.value += 1
            print(f'skipped {path}: {fault}', file=sys.stderr)
            return None  # mmengine's data sets then draw another sample


def _innermost(dataset: Any) -> Iterator[Any]:
    """Give the data sets that load images, out of those that repeat or join them."""
    inner = [*getattr(dataset, 'datasets', ()), *filter(None, [getattr(dataset, 'dataset', None)])]
    for one in inner:
        yield from _innermost(one)
    if not inner:
        yield dataset

"""Hook that skips or reports unreadable images."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.registry import HOOKS
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.images import UNREADABLE, header_fault, image_fault, printable
from ...errors import InputError

ACTIONS = ('stop', 'skip')


@HOOKS.register_module()
class CorruptImageHook(Hook):
    """Report or skip unreadable images in training, validation and test.

    Type and header of each file are checked before the pipeline opens it, so
    that pipes do not block and decompression bombs are not decoded. Only data
    sets whose pipeline reads local files with ``LoadImageFromFile`` are covered.

    Args:
        action: ``'stop'`` raises an error. ``'skip'`` replaces the image in training
            by another one drawn by the data set. In validation and test, AP is computed over
            the other images, and a warning gives their number; if
            :class:`~fnoise_mmdet.CompleteCocoMetric` is not the only metric, or the
            images are drawn, the run stops. Skips are counted. Defaults to ``'stop'``.

    Raises:
        ValueError: If the action is unknown.
    """

    def __init__(self, action: str = 'stop') -> None:
        if action not in ACTIONS:
            raise ValueError(f'action must be one of {ACTIONS}, but got {action!r}')
        self.action = action
        self._counts: list[Any] = []  # one per data loader, shared with its workers

    @property
    def skipped(self) -> int:
        """Number of skipped images."""
        return sum(count.value for count in self._counts)

    def before_train(self, runner: Runner) -> None:
        """Wrap the training data sets."""
        self._guard(runner.train_dataloader, self.action)

    def before_val(self, runner: Runner) -> None:
        """Wrap the validation data sets."""
        self._guard(runner.val_dataloader, self._action_in_evaluation(runner, runner.val_evaluator))

    def before_test(self, runner: Runner) -> None:
        """Wrap the test data sets."""
        self._guard(runner.test_dataloader, self._action_in_evaluation(runner, runner.test_evaluator))

    def after_train(self, runner: Runner) -> None:
        """Log the number of skipped images."""
        if self.skipped:
            runner.logger.warning(f'skipped unreadable images {self.skipped} times')

    def _action_in_evaluation(self, runner: Runner, evaluator: Evaluator) -> str:
        is_drawn = any(isinstance(hook, DetVisualizationHook) and hook.draw for hook in runner.hooks)
        can_skip = all(getattr(metric, 'skips_unreadable', False) for metric in evaluator.metrics)
        return self.action if can_skip and not is_drawn else 'stop'

    def _guard(self, loader: Any, action: str) -> None:
        datasets = [one for one in _innermost(loader.dataset) if _reads_files(one)]
        datasets = [one for one in datasets if not isinstance(one.prepare_data, _Guarded)]
        if not datasets:
            return
        # The lock must come from the context that starts the workers.
        count = (getattr(loader, 'multiprocessing_context', None) or multiprocessing).Value('i', 0)
        self._counts.append(count)
        for one in datasets:
            one.prepare_data = _Guarded(one, one.prepare_data, action, count)


class _Guarded:
    """Load a sample, and report or skip its image if unreadable."""

    def __init__(self, dataset: Any, load: Callable[[int], Any], action: str, skipped: Any) -> None:
        self.dataset, self.load, self.action, self.skipped = dataset, load, action, skipped

    def __call__(self, index: int) -> Any:
        name = str(self.dataset.get_data_info(index)['img_path'])
        if '://' in name:  # not on a local disk
            return self.load(index)
        path = Path(name)
        fault = header_fault(path)
        if fault is None:
            try:
                return self.load(index)
            except Exception as error:
                fault = image_fault(path)
                if fault is None:  # another error
                    raise
                return self._handle(index, path, fault, error)
        return self._handle(index, path, fault, None)

    def _handle(self, index: int, path: Path, fault: str, error: Exception | None) -> Any:
        name = printable(str(path))
        if self.action == 'stop':
            raise InputError(
                f'image {name} cannot be used, {fault}: replace it, remove it from the annotations, '
                'or skip such images with action=skip of CorruptImageHook'
            ) from error
        with self.skipped.get_lock():
            self.skipped.value += 1
        print(f'skipped {name}: {fault}', file=sys.stderr)
        # In training, mmengine's data sets replace None by another sample.
        return self._stand_in(index) if self.dataset.test_mode else None

    def _stand_in(self, index: int) -> Any:
        """Return a sample with a black image, marked to be excluded from the evaluation."""
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        sample = {
            **self.dataset.get_data_info(index),
            'instances': [],
            'img': image,
            'img_shape': image.shape[:2],
            'ori_shape': image.shape[:2],
        }
        for step in self.dataset.pipeline.transforms[1:]:
            sample = step(sample)
        sample['data_samples'].set_metainfo({UNREADABLE: True})
        return sample


def _reads_files(dataset: Any) -> bool:
    """Return whether the pipeline of a data set starts by reading a local image file."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    return bool(
        steps
        and hasattr(dataset, 'prepare_data')
        and type(steps[0]) is LoadImageFromFile  # a subclass may read other formats
        and steps[0].imdecode_backend != 'tifffile'
        and not steps[0].file_client_args
        and (steps[0].backend_args or {}).get('backend', 'local') == 'local'
    )


def _innermost(dataset: Any) -> Iterator[Any]:
    """Return the innermost data sets of wrappers that repeat or concatenate them."""
    dataset = vars(dataset).get('_dataset', dataset)  # of mmengine's wrapper with a number of batches per epoch
    inner = [*getattr(dataset, 'datasets', ()), *filter(None, [getattr(dataset, 'dataset', None)])]
    for one in inner:
        yield from _innermost(one)
    if not inner:
        yield dataset

"""What happens when an image of a data set cannot be read."""

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
    """Name an image of the training, the validation or the test that cannot be read.

    Type and header of each file are checked before it is opened by the
    pipeline, so that a pipe is not waited for and a decompression bomb not
    decoded. Only data sets whose pipeline reads local files with
    ``LoadImageFromFile`` are looked after.

    Args:
        action: ``'stop'`` ends the run with an error. ``'skip'`` in training takes
            another image instead, drawn by the data set. In validation and test, AP is
            computed over the other images, and a warning says over how many;
            where :class:`~fnoise_mmdet.CompleteCocoMetric` is not the only metric, or the
            images are drawn, the run stops all the same. Skips are counted. Defaults
            to ``'stop'``.

    Raises:
        ValueError: The action is unknown.
    """

    def __init__(self, action: str = 'stop') -> None:
        if action not in ACTIONS:
            raise ValueError(f'action must be one of {ACTIONS}, but got {action!r}')
        self.action = action
        self._counts: list[Any] = []  # per data loader; its workers count, too

    @property
    def skipped(self) -> int:
        """How often an image was skipped."""
        return sum(count.value for count in self._counts)

    def before_train(self, runner: Runner) -> None:
        """Guard the loading of the training's data sets."""
        self._guard(runner.train_dataloader, self.action)

    def before_val(self, runner: Runner) -> None:
        """Guard the loading of the validation's data sets."""
        self._guard(runner.val_dataloader, self._action_in_evaluation(runner, runner.val_evaluator))

    def before_test(self, runner: Runner) -> None:
        """Guard the loading of the test's data sets."""
        self._guard(runner.test_dataloader, self._action_in_evaluation(runner, runner.test_evaluator))

    def after_train(self, runner: Runner) -> None:
        """Log how often an image was skipped."""
        if self.skipped:
            runner.logger.warning(f'images that cannot be read were skipped {self.skipped} times')

    def _action_in_evaluation(self, runner: Runner, evaluator: Evaluator) -> str:
        is_drawn = any(isinstance(hook, DetVisualizationHook) and hook.draw for hook in runner.hooks)
        can_skip = all(getattr(metric, 'skips_unreadable', False) for metric in evaluator.metrics)
        return self.action if can_skip and not is_drawn else 'stop'

    def _guard(self, loader: Any, action: str) -> None:
        datasets = [one for one in _innermost(loader.dataset) if _reads_files(one)]
        datasets = [one for one in datasets if not isinstance(one.prepare_data, _Guarded)]
        if not datasets:
            return
        # A lock can be sent only to workers that are started in the way that it was made for.
        count = (getattr(loader, 'multiprocessing_context', None) or multiprocessing).Value('i', 0)
        self._counts.append(count)
        for one in datasets:
            one.prepare_data = _Guarded(one, one.prepare_data, action, count)


class _Guarded:
    """Load a sample; where its image is at fault, say so."""

    def __init__(self, dataset: Any, load: Callable[[int], Any], action: str, skipped: Any) -> None:
        self.dataset, self.load, self.action, self.skipped = dataset, load, action, skipped

    def __call__(self, index: int) -> Any:
        name = str(self.dataset.get_data_info(index)['img_path'])
        if '://' in name:  # in another store than the disk
            return self.load(index)
        path = Path(name)
        fault = header_fault(path)
        if fault is None:
            try:
                return self.load(index)
            except Exception as error:
                fault = image_fault(path)
                if fault is None:  # something else is wrong
                    raise
                return self._handle(index, path, fault, error)
        return self._handle(index, path, fault, None)

    def _handle(self, index: int, path: Path, fault: str, error: Exception | None) -> Any:
        name = printable(str(path))
        if self.action == 'stop':
            raise InputError(
                f'image {name} cannot be used, {fault}: replace it, remove it from the annotations, '
                'or skip such images with CorruptImageHook and action=skip'
            ) from error
        with self.skipped.get_lock():
            self.skipped.value += 1
        print(f'skipped {name}: {fault}', file=sys.stderr)
        # In training mmengine's data sets draw another sample for none.
        return self._stand_in(index) if self.dataset.test_mode else None

    def _stand_in(self, index: int) -> Any:
        """Make a sample of a black image, marked as one that is not to be evaluated."""
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
    """Return whether the pipeline of a data set begins with reading an image from a local file."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    return bool(
        steps
        and hasattr(dataset, 'prepare_data')
        and type(steps[0]) is LoadImageFromFile  # another one may read other formats
        and steps[0].imdecode_backend != 'tifffile'
        and not steps[0].file_client_args
        and (steps[0].backend_args or {}).get('backend', 'local') == 'local'
    )


def _innermost(dataset: Any) -> Iterator[Any]:
    """Return the data sets that load images, out of those that repeat or join them."""
    dataset = vars(dataset).get('_dataset', dataset)  # of which mmengine takes a number of batches per epoch
    inner = [*getattr(dataset, 'datasets', ()), *filter(None, [getattr(dataset, 'dataset', None)])]
    for one in inner:
        yield from _innermost(one)
    if not inner:
        yield dataset

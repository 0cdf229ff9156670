"""Hook that records settings and predictions of a run for comparisons."""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from mmdet.evaluation import CocoMetric
from mmdet.registry import HOOKS
from mmengine.device import get_max_cuda_memory, is_cuda_available
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from ...cli.parser import command_name
from ...config import innermost_datasets
from ...datasets.files import write_atomically
from ...visualization.batch import length
from ..environment import environment
from ..resume import UNFINISHED_PREDICTIONS


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Write the files that ``tools/compare.py`` reads in addition to the log.

    ``run.json`` holds the command, the config, the seed, the data and the
    environment; ``predictions/epoch_N.bbox.json`` and ``.segm.json`` are the
    detections of the last validation in COCO's results format, for intervals
    over images and for figures. Files are written atomically.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self._is_training = False
        self._record: dict[str, Any] = {}
        self._metric: CocoMetric | None = None

    def before_train(self, runner: Runner) -> None:
        """Write ``run.json``."""
        self._is_training = True
        if not is_main_process():
            return
        self._record = dict(
            command=[*command_name(), *sys.argv[1:]],
            config=runner.cfg.to_dict(),
            config_file=str(runner.cfg.filename or ''),
            seed=runner.seed,
            processes=get_world_size(),
            data=dict(
                train=_describe(runner.train_dataloader, runner.cfg.get('train_dataloader')),
                val=None
                if runner.val_loop is None
                else _describe(runner.val_dataloader, runner.cfg.get('val_dataloader')),
            ),
            iterations_per_epoch=length(runner.train_dataloader),
            parameters=sum(parameter.numel() for parameter in runner.model.parameters()),
            environment=environment(),
        )
        self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Add the peak memory in MiB, of the GPU if there is one."""
        if not is_main_process():
            return
        # KiB on Linux.
        peak = (
            get_max_cuda_memory() if is_cuda_available() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        )
        self._record['memory_mib'] = round(peak)
        self._write(runner)

    def _write(self, runner: Runner) -> None:
        content = json.dumps(self._record, default=str, indent=1)
        write_atomically(Path(runner.work_dir) / 'run.json', content.encode())

    def before_val_epoch(self, runner: Runner) -> None:
        """Request the detections of this validation."""
        if not self._is_training or not is_main_process():
            return
        metrics = [one for one in runner.val_evaluator.metrics if isinstance(one, CocoMetric) and not one.format_only]
        if metrics and metrics[0].outfile_prefix is None:
            self._metric = metrics[0]
            self._aside(runner).mkdir(parents=True, exist_ok=True)
            self._metric.outfile_prefix = str(self._aside(runner) / 'results')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Replace the detections of the previous validation."""
        if self._metric is None:
            return
        self._metric.outfile_prefix, self._metric = None, None
        aside, folder = self._aside(runner), self._aside(runner).parent
        # The same count as in the log.
        by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        name = f'iter_{runner.iter}' if by_iteration else f'epoch_{runner.epoch}'
        new = {f'{name}.{kind}.json' for kind in ('bbox', 'segm') if (aside / f'results.{kind}.json').is_file()}
        for file in new:
            (aside / file.replace(name, 'results')).replace(folder / file)
        for path in folder.glob('*.json'):
            if path.name not in new:
                path.unlink()
        for path in aside.iterdir():  # mmdet writes proposals too
            path.unlink()
        aside.rmdir()

    @staticmethod
    def _aside(runner: Runner) -> Path:
        return Path(runner.work_dir) / UNFINISHED_PREDICTIONS


def _describe(loader: Any, config: Any) -> dict[str, Any]:
    """Return the size of a loader's data set, and the paths of annotations and images from its config."""
    named = config.get('dataset') if isinstance(config, dict) else None
    configs = list(innermost_datasets(named)) if isinstance(named, dict) else []
    described: dict[str, Any] = dict(
        images=length(loader.dataset),
        batch_size=config.get('batch_size') if isinstance(config, dict) else getattr(loader, 'batch_size', None),
        classes=list(getattr(loader.dataset, 'metainfo', {}).get('classes') or ()),
    )
    if len(configs) == 1:
        root = Path(configs[0].get('data_root') or '').absolute()
        described['ann_file'] = os.path.normpath(root / configs[0].get('ann_file', ''))
        described['image_folder'] = os.path.normpath(root / (configs[0].get('data_prefix') or {}).get('img', ''))
    return described

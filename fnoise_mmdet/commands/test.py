"""Evaluate a checkpoint, and draw its detections."""

import argparse
import os
from pathlib import Path

from mmdet.evaluation import DumpDetResults

from ..config import check_has, config_classes, innermost_datasets, use_data_root
from ..datasets.files import check_writable
from ..engine.preflight import check_checkpoint, check_data, check_model
from ..errors import InputError
from .runner import build_runner, runner_config


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    cfg = runner_config(args)
    check_has(cfg, 'model', 'test_dataloader', 'test_evaluator', 'test_cfg')
    cfg.load_from = args.checkpoint
    if not args.work_dir:  # would overwrite the training config next to its checkpoints
        cfg.work_dir = str(Path(cfg.work_dir) / 'test')
    if args.show_dir:
        if not (cfg.get('default_hooks') or {}).get('visualization'):
            raise InputError(f'--show-dir needs default_hooks.visualization, and {args.config} has none')
        # The hook joins a relative folder to the work dir again for every image.
        cfg.default_hooks.visualization.update(draw=True, test_out_dir=os.path.abspath(args.show_dir))
    for folder in filter(None, [cfg.work_dir, args.show_dir, args.out and Path(args.out).parent]):
        check_writable(Path(folder))
    use_data_root(cfg, args.data_root, required=('test',))
    model = check_model(cfg)
    check_data(cfg, ['test'])
    dataset = next(innermost_datasets(cfg.test_dataloader.dataset))
    check_checkpoint(args.checkpoint, config_classes(dataset), model)

    runner = build_runner(cfg)
    if args.out:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    written = [one.outfile_prefix for one in runner.test_evaluator.metrics if getattr(one, 'format_only', False)]
    runner.test()
    for path in (path for prefix in written for path in sorted(Path(prefix).parent.glob(f'{Path(prefix).name}.*json'))):
        print(f'wrote the detections to {path}')

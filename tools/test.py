"""Evaluate a checkpoint, and draw its detections."""

import _start

import argparse
import os
from pathlib import Path

from mmdet.evaluation import DumpDetResults

from fnoise_mmdet import cli
from fnoise_mmdet.arguments import ArgumentParser
from fnoise_mmdet.config import check_has, config_classes, innermost_datasets, use_data_root
from fnoise_mmdet.datasets.files import check_writable
from fnoise_mmdet.engine.preflight import check_checkpoint, check_data, check_model
from fnoise_mmdet.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Evaluate a checkpoint on the test split. F-Noise is applied in training only: configs with and '
        'without it give the same result for a checkpoint.',
        examples=[
            'configs/fnoise.py work_dirs/fnoise/epoch_10.pth --show-dir pictures',
        ],
        answers={
            '--show': 'save the pictures with --show-dir DIR',
            '--tta': "evaluate with mmdet's own tools/test.py --tta, which takes the same config and checkpoint",
        },
    )
    cli.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    cli.add_runner_arguments(parser, 'work_dirs/CONFIG_NAME/test')
    parser.add_argument('--out', help='save the predictions to this pickle file (.pkl)')
    parser.add_argument('--show-dir', help='save images with ground truth next to detections to this folder')
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out must end in .pkl or .pickle, but got {args.out}')
    return args


def main() -> None:
    args = parse_args()
    cfg = cli.runner_config(args)
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

    runner = cli.build_runner(cfg)
    if args.out:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    written = [one.outfile_prefix for one in runner.test_evaluator.metrics if getattr(one, 'format_only', False)]
    runner.test()
    for path in (path for prefix in written for path in sorted(Path(prefix).parent.glob(f'{Path(prefix).name}.*json'))):
        print(f'wrote the detections to {path}')


if __name__ == '__main__':
    _start.run(main)

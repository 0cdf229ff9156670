"""Train a detector, with or without F-Noise."""

import argparse
import os
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from fnoise_mmdet import cli
from fnoise_mmdet.config import load_config, train_from_scratch, use_data_root
from fnoise_mmdet.preflight import check_training


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a detector, with or without F-Noise.',
        epilog='example: python tools/train.py configs/fnoise.py --data-root data/coco_sample '
        '--cfg-options model.neck.noise.scale=0.1 train_cfg.max_epochs=2',
    )
    parser.add_argument('config', help='config file, e.g. configs/fnoise.py')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and pictures (default: work_dirs/CONFIG_NAME)')
    parser.add_argument('--data-root', help=cli.DATA_ROOT_HELP)
    parser.add_argument(
        '--from-scratch',
        action='store_true',
        help='train from random weights: no checkpoint is fetched, no stage is frozen, batch norm is trained',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint, or without a value from the latest one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision (needs a GPU)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help=cli.CFG_OPTIONS_HELP)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed training (default: none, a single process)',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    if args.from_scratch:
        train_from_scratch(cfg)
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    use_data_root(cfg, args.data_root, required=('train', 'val'))
    check_training(cfg)

    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.train()


if __name__ == '__main__':
    cli.run(main)

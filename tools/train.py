"""Train a detector, with or without F-Noise."""

import argparse

from fnoise_mmdet import cli
from fnoise_mmdet.config import train_from_scratch, use_data_root
from fnoise_mmdet.preflight import check_training


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a detector, with or without F-Noise.',
        epilog='example: python tools/train.py configs/fnoise.py --data-root data/coco_sample '
        '--cfg-options model.neck.noise.scale=0.1 train_cfg.max_epochs=2',
    )
    cli.add_config_arguments(parser)
    cli.add_runner_arguments(parser)
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
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = cli.runner_config(args)
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
    cli.build_runner(cfg).train()


if __name__ == '__main__':
    cli.run(main)

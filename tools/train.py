"""Train a detector, with or without F-Noise."""

import argparse

from fnoise_mmdet import cli
from fnoise_mmdet.hooks import MissedValidationHook
from fnoise_mmdet.preflight import check_training


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a detector, with or without F-Noise.',
        epilog='example: python tools/train.py configs/fnoise.py --data-root data/coco_sample '
        '--cfg-options model.neck.noise.scale=0.1 train_cfg.max_epochs=2',
    )
    cli.add_config_arguments(parser)
    cli.add_runner_arguments(parser)
    cli.add_training_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint, or without a value from the latest one in the work dir',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = cli.runner_config(args)
    cli.apply_training_options(cfg, args)
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    check_training(cfg)
    runner = cli.build_runner(cfg)
    if args.resume:
        runner.register_hook(MissedValidationHook())
    runner.train()


if __name__ == '__main__':
    cli.run(main)

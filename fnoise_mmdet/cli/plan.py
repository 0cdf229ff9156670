"""Estimate the cost of a study before it is started: GPU hours, days, disk."""

import argparse
import math
from pathlib import Path

from . import options
from .parser import ArgumentParser

MARK = '<!-- cost -->'


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Estimate the GPU hours, days and disk space of a study of a config, each figure with its source. '
        'Nothing is trained or downloaded, and the data set is not needed.',
        examples=[
            'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
            'my_config.py --scale 0 0.3 --num-seeds 3 --gpus 4 --benchmark step.json',
        ],
    )
    parser.add_argument(
        'config',
        type=options.config_path,
        help='config file without noise, or one that mmdet ships (mmdet::FAMILY/NAME.py)',
    )
    options.add_scales(parser)
    parser.add_argument('--num-seeds', type=options.at_least(1), default=5, help='trainings per condition')
    parser.add_argument('--gpus', type=options.at_least(1), nargs='+', default=[1, 8, 64], help='numbers of GPUs')
    parser.add_argument('--images', type=options.at_least(1), help="images per epoch (default: counted, or COCO's)")
    parser.add_argument('--val-images', type=options.at_least(1), help='images per validation (default: the same)')
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        '--benchmark',
        type=Path,
        metavar='FILE.json',
        help='time per step, measured in a checkout: tools/dev/benchmark.py step CONFIG --noises cct --out FILE.json',
    )
    time.add_argument('--step-seconds', type=float, help='time per step of one GPU with the batch size of the config')
    parser.add_argument('--data-root', help="folder in COCO layout instead of the config's data")
    parser.add_argument('--cfg-options', nargs='+', action=options.PairsAction, help='override settings of the config')
    parser.add_argument('--into', type=Path, metavar='FILE.md', help=f'put the tables between two lines {MARK}')
    args = parser.parse_args()
    if not all(0 <= scale < math.inf for scale in args.scale) or len(set(args.scale)) < len(args.scale):
        parser.error('argument --scale: must be different numbers >= 0')
    if args.step_seconds is not None and not 0 < args.step_seconds < math.inf:
        parser.error('argument --step-seconds: must be > 0')
    return args

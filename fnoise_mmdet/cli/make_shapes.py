"""Write the embedded data set of shapes in COCO format."""

import argparse
from pathlib import Path

from ..choices import STYLES
from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Write the embedded data set: textured images of overlapping shapes of five classes, '
        'with boxes and masks in COCO format. The same arguments give the same images.',
        examples=['', '--num-val 1000 --out data/shapes_1000', '--style dark --out data/shapes_dark'],
    )
    parser.add_argument('--out', type=Path, default=Path('data/shapes'), help='folder to create')
    parser.add_argument('--num-train', type=options.at_least(1), default=640, help='number of training images')
    parser.add_argument('--num-val', type=options.at_least(1), default=80, help='number of validation images')
    parser.add_argument('--num-test', type=options.at_least(1), default=20, help='number of test images')
    parser.add_argument('--size', type=options.at_least(64, 4096), default=256, help='height and width in pixels')
    parser.add_argument('--seed', type=options.seed, default=0, help='random seed')
    parser.add_argument(
        '--style',
        choices=STYLES,
        default=STYLES[0],
        help='how the images are painted: textured; dark, at half the brightness; or with objects as outlines. '
        'The objects of a seed are the same in all styles, for tests on another domain '
        '(robustness --domain)',
    )
    return parser.parse_args()

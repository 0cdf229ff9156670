"""Draw clean and perturbed features of images, without a training."""

import argparse
from pathlib import Path

from ..choices import REDUCTIONS, SOURCES
from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        usage='%(prog)s CONFIG [CHECKPOINT] IMAGE [IMAGE ...] --out DIR [options]',
        description='Draw clean and perturbed features of images, without a training: one panel per image as '
        'OUT/IMAGE.png, with clean features, noise, perturbed features and their relative change. For a config '
        'without noise only the features are drawn, unless noise is inserted with --fnoise.',
        examples=[
            'configs/fnoise.py photos/ --out shown --sweep 0.1 0.2 0.3 0.5 1.0',
        ],
    )
    options.add_config_arguments(parser)
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='[CHECKPOINT] IMAGE',
        help='checkpoint, a file or URL recognized by its suffix '
        f'({", ".join(options.CHECKPOINT_SUFFIXES)}), then images or folders of images. '
        'Without a checkpoint the weights are random, which the title states',
    )
    parser.add_argument('--out', type=Path, required=True, help='output folder, which must be empty or not exist')
    parser.add_argument('--force', action='store_true', help='replace a non-empty folder OUT')
    parser.add_argument(
        '--sweep',
        nargs='+',
        type=float,
        metavar='STRENGTH',
        help='instead of panels, draw one figure per image with a column for each strength of the noise: the scale '
        'of F-Noise, or the corresponding setting of another noise, e.g. drop_prob',
    )
    parser.add_argument(
        '--density',
        action='store_true',
        help='instead of panels, draw the joint density of |feature| and |noise| at the first of the levels, for the '
        'noise of the config and for cct, mean_normal and l2: only noise proportional to the features follows them',
    )
    parser.add_argument(
        '--source',
        choices=SOURCES,
        default='noise',
        help='features to draw: the input of the noise, or the outputs of backbone or neck',
    )
    parser.add_argument(
        '--levels',
        nargs='+',
        type=int,
        metavar='LEVEL',
        help='levels to draw, -1 is the last (default: the first three)',
    )
    parser.add_argument(
        '--reduction',
        choices=REDUCTIONS,
        default='strongest',
        help='reduction of the channels to one map: the strongest channel, a grid of the strongest, mean, max or norm '
        'over channels, or the first principal component',
    )
    parser.add_argument('--top-k', type=options.at_least(1), default=9, help='number of channels of top_k')
    parser.add_argument('--max-size', type=options.at_least(200), default=1600, help='longest side in pixels')
    parser.add_argument('--arrays', action='store_true', help='also save the arrays as OUT/IMAGE.npz')
    parser.add_argument('--seed', type=options.seed, default=0, help='seed of noise and random weights')
    parser.add_argument('--device', help='device, e.g. cpu or cuda:0 (default: a GPU if available)')
    options.add_trust_option(parser)
    return parser.parse_args()

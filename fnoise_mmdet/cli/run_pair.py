"""Train a detector without and with F-Noise over several seeds, and compare."""

import argparse
from pathlib import Path

from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Train a detector without and with F-Noise over several seeds, and write a report of the '
        'comparison to OUT/report. Each run has the work dir OUT/CONDITION/seed_S. Can be interrupted: the same '
        'command resumes unfinished runs, and seeds can be added.',
        examples=[
            'configs/demo_baseline.py configs/demo_fnoise.py --out work_dirs/pair',
            'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py --data-root data/mine --seeds 0 1 2 3 4 '
            '--out work_dirs/mine --fnoise-options model.neck.noise.scale=0.1',
        ],
    )
    parser.add_argument(
        'baseline',
        type=options.config_path,
        help='config file without noise, or one shipped with mmdet (mmdet::FAMILY/NAME.py)',
    )
    parser.add_argument(
        'with_noise',
        type=options.config_path,
        nargs='?',
        metavar='fnoise_config',
        help='config file with noise (default: the baseline with --fnoise)',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the study')
    parser.add_argument('--seeds', type=options.seed, nargs='+', default=[0, 1, 2], help='seeds, one pair each')
    options.add_config_options(parser)
    parser.add_argument(
        '--fnoise-options',
        nargs='+',
        action=options.PairsAction,
        help='like --cfg-options, for the config with noise only',
    )
    options.add_training_options(parser)
    parser.add_argument(
        '--workers',
        type=options.at_least(1),
        default=1,
        help='parallel trainings, each with an equal share of the cores, or with OMP_NUM_THREADS threads if set; if '
        'one fails, the others are stopped and can be resumed with the same command',
    )
    parser.add_argument(
        '--training-ap',
        action='store_true',
        help='also evaluate on the training images, after the last validation: the difference to the AP on validation '
        'images is the overfitting (on in configs/photos_*.py and configs/demo_*.py)',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check everything (weights of the config are downloaded), list the runs, and write nothing else',
    )
    parser.add_argument('--no-report', action='store_true', help='train only')
    return parser.parse_intermixed_args()  # allows the second config at any position

"""Train a detector, with or without F-Noise."""

import argparse

from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Train a detector, with or without F-Noise.',
        examples=[
            'configs/fnoise.py --data-root data/coco_sample '
            '--cfg-options model.neck.noise.scale=0.1 train_cfg.max_epochs=2',
            'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py --fnoise --pictures --data-root data/coco',
        ],
        answers={'--show': 'save feature maps in the work dir with --pictures'},
    )
    options.add_config_arguments(parser)
    options.add_runner_arguments(parser)
    options.add_training_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from a checkpoint; without a value, from the latest one in the work dir',
    )
    parser.add_argument(
        '--pictures',
        action='store_true',
        help='add the hooks of the configs of this package, if missing: feature maps (FeatureMapHook), validation '
        'losses, signal-to-noise ratio, a record of the run, and those for checkpointing and resuming',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='run all checks and print a summary, without writing anything but downloads of weights of the config',
    )
    return parser.parse_args()

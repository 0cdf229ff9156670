"""Train a detector without noise, with noises at several scales and with other settings over several seeds on Ray."""

import argparse
from pathlib import Path

from ..choices import NOISES
from . import options
from .parser import ArgumentParser


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Train a detector without noise and with noises at several scales over several seeds, each run a '
        'trial of Ray Tune with the work dir OUT/CONDITION/seed_S, and write a report of the comparison to '
        'OUT/report. Can be interrupted: the same command resumes unfinished runs, and seeds, noises and scales can '
        "be added. Needs Ray: pip install 'ray[tune]'.",
        examples=[
            'configs/demo_baseline.py --out work_dirs/sweep',
            'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py --data-root data/mine --out work_dirs/mine '
            '--preset cct mean_normal=0.1 FDrop --scale 0 0.1 0.2 0.3 0.5 --seeds 0 1 2 3 4 --cpus 4',
            'configs/demo_baseline.py --out work_dirs/half --preset cct=0.3 '
            '--condition half:cct=0.3 model.neck.noise.prob=0.5 --condition frozen model.backbone.norm_eval=True',
        ],
    )
    parser.add_argument(
        'config',
        type=options.config_path,
        help='config file without noise, or one that mmdet ships (mmdet::FAMILY/NAME.py)',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the sweep')
    parser.add_argument(
        '--preset',
        nargs='+',
        default=['cct'],
        metavar='NOISE[=SCALE]',
        help='noises, each combined with all scales, or only with its own (NAME=SCALE); a noise without a scale is '
        f'one condition (default: cct; choices: {", ".join(NOISES)}; or your own, '
        'a registered subclass of Noise)',
    )
    options.add_scales(parser)
    parser.add_argument(
        '--condition',
        nargs='+',
        action=options.ConditionAction,
        default=[],
        metavar=('NAME[:NOISE[=SCALE]]', 'KEY=VALUE'),
        help='an additional condition that overrides settings of the baseline, with or without noise; can be repeated',
    )
    parser.add_argument('--seeds', type=options.seed, nargs='+', default=[0, 1, 2], help='seeds of each condition')
    options.add_overrides(parser)
    options.add_training_options(parser)
    ray = parser.add_argument_group('Ray')
    ray.add_argument(
        '--address',
        help='address of a running Ray cluster, e.g. auto or 10.0.0.1:6379; all of its machines need OUT, the data, '
        'this folder and this Python under the same paths; set RAY_AUTH_MODE=token if it requires a token '
        '(default: a local Ray for this sweep)',
    )
    ray.add_argument(
        '--cpus',
        type=options.at_least(1),
        default=1,
        help='CPUs and threads of a trial; trials that do not fit wait',
    )
    ray.add_argument(
        '--gpus',
        type=options.between(0),
        help='GPUs of a trial, e.g. 0.5 for two trials per GPU (default: 1 if there are any, else 0)',
    )
    ray.add_argument(
        '--retries',
        type=options.at_least(0),
        default=2,
        help='restarts of a failed run from its last checkpoint',
    )
    asha = parser.add_argument_group('early stopping')
    asha.add_argument(
        '--asha',
        action='store_true',
        help='stop bad conditions early with ASHA, applied to whole conditions: after the epochs GRACE, GRACE x '
        'FACTOR, ... a condition waits for all of its seeds, and continues if their mean metric is among the best '
        '1/FACTOR; the baseline is never cut, and cut conditions are listed in the report but not compared',
    )
    asha.add_argument(
        '--asha-metric',
        default='coco/bbox_mAP',
        help='metric from the log; lower is better if its name contains loss, e.g. val_loss',
    )
    asha.add_argument('--asha-grace', type=options.at_least(1), default=1, help='epochs before the first cut')
    asha.add_argument(
        '--asha-factor',
        type=options.at_least(2),
        default=3,
        help='reduction factor: the best 1/FACTOR continue',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check everything (weights of the config are downloaded), list the runs, and write nothing else',
    )
    parser.add_argument('--no-report', action='store_true', help='train only')
    return parser.parse_args()

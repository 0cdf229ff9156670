"""Train a detector without and with F-Noise over several seeds, and compare."""

import _start

import argparse
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from fnoise_mmdet import cli
from fnoise_mmdet.arguments import ArgumentParser
from fnoise_mmdet.config import add_comparison_hooks, load_config
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies.local import run_plan
from fnoise_mmdet.studies.run import run_study

TOOLS = Path(__file__).resolve().parent


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
    parser.add_argument('baseline', help='config file without noise, or one shipped with mmdet (mmdet::FAMILY/NAME.py)')
    parser.add_argument(
        'with_noise',
        nargs='?',
        metavar='fnoise_config',
        help='config file with noise (default: the baseline with --fnoise)',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the study')
    parser.add_argument('--seeds', type=cli.at_least(0), nargs='+', default=[0, 1, 2], help='seeds, one pair each')
    cli.add_config_options(parser)
    parser.add_argument(
        '--fnoise-options', nargs='+', action=DictAction, help='like --cfg-options, for the config with noise only'
    )
    cli.add_training_options(parser)
    parser.add_argument(
        '--workers',
        type=cli.at_least(1),
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
    parser.add_argument('--dry-run', action='store_true', help='check everything, list the runs, and write nothing')
    parser.add_argument('--no-report', action='store_true', help='train only')
    return parser.parse_intermixed_args()  # allows the second config at any position


def read_configs(args: argparse.Namespace) -> dict[str, Config]:
    """Load the config of each condition, with its options."""
    if args.with_noise and args.fnoise:
        raise InputError(f'--fnoise {args.fnoise} creates the second config from the first: omit one of the two')
    noise = None if args.with_noise else args.fnoise or 'cct'
    options: dict[str, Any] = args.cfg_options or {}
    configs = {
        'baseline': load_config(args.baseline, options),
        'fnoise': load_config(args.with_noise or args.baseline, options | (args.fnoise_options or {}), noise),
    }
    for name, cfg in configs.items():
        try:
            cli.apply_training_options(cfg, args)
            add_comparison_hooks(cfg, training_ap=args.training_ap)
        except InputError as error:
            raise InputError(f'{name}: {error}') from None
    if configs['baseline'].to_dict() == configs['fnoise'].to_dict():
        raise InputError(f'{args.with_noise} is the same config as {args.baseline}: nothing to compare')
    return configs


def main() -> None:
    args = parse_args()
    train = [sys.executable, str(TOOLS / 'train.py')]
    run_study(
        args.out.absolute(),
        read_configs(args),
        args.seeds,
        lambda plan, configs: run_plan(plan, configs, train, args.workers),
        compare=None if args.no_report else TOOLS / 'compare.py',
        dry_run=args.dry_run,
    )


if __name__ == '__main__':
    _start.run(main)

"""Estimate the cost of a study before it is started: GPU hours, days, disk."""

import _start

import argparse
import math
from pathlib import Path

from mmengine.config import DictAction

from fnoise_mmdet import cli
from fnoise_mmdet.arguments import ArgumentParser
from fnoise_mmdet.config import load_config, use_data_root
from fnoise_mmdet.studies.cost import Estimate, measured_step, study_cost

MARK = '<!-- cost -->'


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Estimate the GPU hours, days and disk space of a study of a config, each figure with its source. '
        'Nothing is trained or downloaded, and the data need not be there.',
        examples=[
            'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
            'my_config.py --scale 0 0.3 --num-seeds 3 --gpus 4 --benchmark step.json',
        ],
    )
    parser.add_argument('config', help='config file without noise, or one that mmdet ships (mmdet::FAMILY/NAME.py)')
    cli.add_scales(parser)
    parser.add_argument('--num-seeds', type=cli.at_least(1), default=5, help='trainings per condition')
    parser.add_argument('--gpus', type=cli.at_least(1), nargs='+', default=[1, 8, 64], help='numbers of GPUs')
    parser.add_argument('--images', type=cli.at_least(1), help="images per epoch (default: counted, or COCO's)")
    parser.add_argument('--val-images', type=cli.at_least(1), help='images per validation (default: the same)')
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        '--benchmark',
        type=Path,
        metavar='FILE.json',
        help='time per step as measured by tools/dev/benchmark.py step CONFIG --noises cct --out FILE.json',
    )
    time.add_argument('--step-seconds', type=float, help='time per step of one GPU with the batch size of the config')
    parser.add_argument('--data-root', help="folder in COCO layout instead of the config's data")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')
    parser.add_argument('--into', type=Path, metavar='FILE.md', help=f'put the tables between two lines {MARK}')
    args = parser.parse_args()
    if not all(0 <= scale < math.inf for scale in args.scale) or len(set(args.scale)) < len(args.scale):
        parser.error('argument --scale: must be different numbers >= 0')
    if args.step_seconds is not None and not 0 < args.step_seconds < math.inf:
        parser.error('argument --step-seconds: must be > 0')
    return args


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    if args.data_root:
        use_data_root(cfg, args.data_root, required=('train', 'val'))
    step = Estimate(args.step_seconds, '--step-seconds') if args.step_seconds else None
    if args.benchmark:
        step = measured_step(args.benchmark, args.config, args.cfg_options, 'cct')
    cost = study_cost(cfg, args.scale, args.num_seeds, step, args.images, args.val_images)
    figures, times = cost.tables(args.gpus)
    if args.into:
        cli.put_between(args.into, MARK, f'{times.markdown()}\n\n{figures.markdown()}')
    else:
        console = cli.console()
        console.print(figures.terminal(), times.terminal(), sep='\n')


if __name__ == '__main__':
    _start.run(main)

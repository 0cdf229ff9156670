"""Say what a study costs before it is begun: steps, GPU hours, storage, network."""

import _start

import argparse
import json
import math
from pathlib import Path

from mmengine.config import DictAction
from rich.table import Table

from fnoise_mmdet import cli
from fnoise_mmdet.config import NOISE_CONFIGS, load_config, use_data_root
from fnoise_mmdet.datasets.files import write_atomically
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies import cost
from fnoise_mmdet.studies.plan import SOURCES, describe_study, measured_step

MARK = '<!-- cost -->'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='What a study of a config costs: steps, GPU hours, storage, network, and the days on some numbers '
        'of GPUs. Each figure says whether it is measured, published, of the config, given, computed or assumed, and '
        'from what. Nothing is trained or fetched, and the data need not be there.',
        epilog='examples: python tools/plan.py mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py ; '
        'python tools/plan.py my_config.py --scale 0 0.3 --num-seeds 3 --gpus 4 --benchmark step.json',
    )
    parser.add_argument('config', help='config file without noise, or one that mmdet ships (mmdet::FAMILY/NAME.py)')
    parser.add_argument(
        '--preset',
        choices=list(NOISE_CONFIGS),
        default='cct',
        metavar='NOISE',
        help='the noise, whose time of a step is taken where --benchmark has it (default: cct)',
    )
    cli.add_scales(parser)
    parser.add_argument('--num-seeds', type=cli.at_least(1), default=5, help='trainings of each condition (default: 5)')
    parser.add_argument('--gpus', type=cli.at_least(1), nargs='+', default=[1, 8, 64], help='(default: 1 8 64)')
    parser.add_argument('--images', type=cli.at_least(1), help="of an epoch (default: counted, or COCO's)")
    parser.add_argument('--val-images', type=cli.at_least(1), help='of a validation (default: the same)')
    parser.add_argument(
        '--benchmark',
        type=Path,
        metavar='FILE.json',
        help='what tools/dev/benchmark.py step CONFIG --out FILE.json has measured, on such a GPU, of the same config',
    )
    parser.add_argument('--step-seconds', type=float, help='of a pass of one GPU with the batch of the config')
    parser.add_argument('--source', help='where --step-seconds is from')
    parser.add_argument('--data-root', help="folder in COCO layout instead of the config's data")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='JSON file to write')
    parser.add_argument('--into', type=Path, metavar='FILE.md', help=f'put tables between the two lines {MARK!r} of it')
    args = parser.parse_args()
    if not all(0 <= scale < math.inf for scale in args.scale) or len(set(args.scale)) < len(args.scale):
        parser.error('argument --scale: must be different numbers, none below 0')
    if args.step_seconds is not None and not 0 < args.step_seconds < math.inf:
        parser.error('argument --step-seconds: must be above 0')
    return args


def step_time(args: argparse.Namespace) -> cost.Estimate | None:
    """Return the time of a pass where the user has one."""
    if (args.step_seconds is None) != (args.source is None):
        raise InputError('--step-seconds and --source go together: a figure says where it is from')
    if args.step_seconds is not None and args.benchmark:
        raise InputError('--benchmark and --step-seconds both tell the time of a step: leave one of them out')
    if args.benchmark:
        return measured_step(args.benchmark, args.config, args.cfg_options, args.preset)
    return cost.Estimate(args.step_seconds, 's', cost.GIVEN, args.source) if args.source else None


def print_plan(study: cost.Study, gpus: list[int]) -> None:
    """Print figures, plans, assumptions and sources."""
    console = cli.console()
    table = Table('figure', 'value', 'kind', 'from')
    for subject, rows in cost.figures(study, gpus).items():
        table.add_section()
        table.add_row(subject, style='bold')
        for name, one in rows.items():
            table.add_row(name, str(one), one.kind, one.source)
    console.print(table)
    table = Table(*cost.PLAN_HEADS)
    for plan in cost.plans(study, gpus):
        table.add_row(*cost.plan_row(plan))
    console.print(table)
    print(cost.PLAN_NOTE)
    print('\n'.join(['assumed:', *(f'- {text}' for text in cost.assumptions(study))]))
    for name, address in cost.cited_sources(study, gpus, SOURCES).items():
        print(f'source: {name}: {address}')


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    if args.data_root:
        use_data_root(cfg, args.data_root, required=('train', 'val'))
    study = describe_study(cfg, args.scale, args.num_seeds, step_time(args), args.images, args.val_images)
    if args.into:
        cli.put_between(args.into, MARK, cost.cost_tables(study, args.gpus, SOURCES))
    else:
        print_plan(study, args.gpus)
    if args.out:
        content = dict(config=args.config, preset=args.preset, **cost.as_json(study, args.gpus), sources=SOURCES)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(args.out, (json.dumps(content, indent=1) + '\n').encode())
        print(f'wrote {args.out}')


if __name__ == '__main__':
    _start.run(main)

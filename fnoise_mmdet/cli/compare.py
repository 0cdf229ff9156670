"""Compare runs: losses, AP and validation loss over seeds, with intervals, in one HTML report."""

import argparse
from pathlib import Path

from . import options
from .parser import ArgumentParser, command_for

FIGURE_SUFFIXES = ('.png', '.svg', '.pdf')


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='Compare runs, grouped by what they were trained with, to the first group: losses, AP, validation '
        'loss, gradient norm, signal-to-noise ratio, time and memory, with 95 % confidence intervals over seeds and '
        'over images. Writes report.html, which opens offline, its figures as PNG and SVG, its numbers as JSON and '
        'CSV. Without --out, prints the table of a comparison.json that was written before, or of several whose '
        'seeds differ as one study.',
        examples=[
            'work_dirs/baseline work_dirs/fnoise --out work_dirs/comparison',
            '--group baseline=runs/a0,runs/a1 --group fnoise=runs/b0,runs/b1 --out report',
            'work_dirs/pair --out work_dirs/pair/report',
            'work_dirs/pair_*/report/comparison.json --conditions fnoise --figure differences.png',
            '--regime embedded=a/comparison.json,b/comparison.json --regime photos=c/comparison.json --figure map.png',
            '--label-counts --regime 40=a/comparison.json --regime 80=b/comparison.json --figure curves.png',
        ],
    )
    parser.add_argument(
        'runs',
        nargs='*',
        type=Path,
        help='work dirs or scalars.json of runs, each a separate group, or folders that hold runs (FOLDER/RUN) or '
        'groups of runs (FOLDER/GROUP/RUN), as written by '
        f'{command_for("run_pair")}; without --out the comparison.json of reports, under any name',
    )
    parser.add_argument(
        '--group',
        action='append',
        default=[],
        metavar='NAME=RUN,RUN',
        help='group of runs that differ only in their seed; the first group is the reference of the others',
    )
    parser.add_argument('--out', type=Path, help='output folder of the report')
    parser.add_argument('--force', action='store_true', help='replace the contents of the folder')
    parser.add_argument('--title', help='heading of the report')
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help='names to show for RUNS (default: those of the folders)'
    )
    parser.add_argument(
        '--images',
        type=options.at_least(0),
        default=3,
        help='validation images with detections, chosen by what they show',
    )
    parser.add_argument(
        '--score-thr', type=options.between(0, 1), default=0.3, help='initial score threshold of the detections'
    )
    saved = parser.add_argument_group('the table of a comparison.json, without --out')
    saved.add_argument('--conditions', nargs='+', default=[], help='conditions to show besides the first one')
    saved.add_argument(
        '--measures',
        nargs='+',
        default=[],
        metavar='KEY',
        help='measures to show in this order, as they are called in the log, e.g. coco/segm_mAP (default: APs, losses '
        'and robustness, as far as available)',
    )
    saved.add_argument(
        '--curve',
        nargs='+',
        default=[],
        metavar='LABELS=CONDITION|FILE',
        help='learning curve of the supervised training: numbers of labelled images, each with the condition of this '
        'comparison or the comparison.json of another one (its first condition) that was trained with them. Adds what '
        'each condition is worth in labels, in the first measure; the number of the first entry is that of this '
        'comparison',
    )
    saved.add_argument(
        '--regime',
        action='append',
        default=[],
        metavar='NAME=FILE,FILE',
        help='comparison.json of a study in one regime, such as few labels or other data; of several the table and '
        '--figure, a map, show the conclusions about each condition, in those of --measures that the study has '
        '(default: its first)',
    )
    saved.add_argument(
        '--label-counts',
        action='store_true',
        help='the names of the regimes are numbers of labelled images: --figure shows the learning curve of each '
        'condition, and a table what it is worth in labels',
    )
    saved.add_argument('--into', type=Path, metavar='FILE.md', help='replace the text between two lines <!-- MARK -->')
    saved.add_argument('--mark', default='study', help='the word in these lines')
    saved.add_argument('--figure', type=Path, metavar='FILE', help=f'draw a forest plot ({", ".join(FIGURE_SUFFIXES)})')
    saved.add_argument(
        '--deployment-figure',
        type=Path,
        metavar='FILE',
        help=f'draw AP against the signal-to-noise ratio of features as on hardware, which {command_for("robustness")} '
        '--deployment has measured, and the share of AP that is kept, as differences to the first condition',
    )
    args = parser.parse_args()
    if args.regime and (args.runs or args.group or args.curve or args.out or args.deployment_figure):
        parser.error('--regime takes no runs, --group, --curve, --out or --deployment-figure')
    if args.label_counts and not args.regime:
        parser.error('--label-counts is for --regime LABELS=FILE,FILE')
    if not args.runs and not args.group and not args.regime:
        parser.error('name runs, a folder that holds them, or groups with --group')
    if args.out is None and (args.group or any(path.is_dir() for path in args.runs)):
        parser.error('--out is required to compare runs; without it name the comparison.json of reports')
    figures = {'--figure': args.figure, '--deployment-figure': args.deployment_figure}
    if args.out is not None and any((args.conditions, args.measures, args.curve, args.into, *figures.values())):
        parser.error(
            '--conditions, --measures, --curve, --into, --figure and --deployment-figure show a comparison.json, '
            'without --out'
        )
    for option, path in figures.items():
        if path and path.suffix not in FIGURE_SUFFIXES:
            parser.error(f'{option} {path}: its name must end in {", ".join(FIGURE_SUFFIXES)}')
    return args

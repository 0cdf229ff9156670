"""Show what a comparison has found, as a table and as a figure."""

import _start

import argparse
import io
from pathlib import Path

from fnoise_mmdet import cli
from fnoise_mmdet.comparison.measures import STUDY_MEASURES
from fnoise_mmdet.comparison.saved_comparison import read_comparisons
from fnoise_mmdet.comparison.study_figure import plot_study
from fnoise_mmdet.comparison.study_table import study_table
from fnoise_mmdet.datasets.files import write_atomically
from fnoise_mmdet.errors import InputError

FORMATS = ('.png', '.svg', '.pdf')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Print the figures of a comparison as a table in Markdown, a row for each condition under each '
        'measure, or put it into a page; and draw the differences with their intervals. Several comparisons of the '
        'same conditions, each of other seeds, as machines make them that share a study out, are shown as one.',
        epilog='example: python tools/show_study.py docs/study/embedded/seeds_*.json --conditions cct_0.3 '
        '--into README.md --figure differences.png',
    )
    parser.add_argument(
        'comparison', type=Path, nargs='+', help='comparison.json that tools/compare.py has written, by any name'
    )
    parser.add_argument('--conditions', nargs='+', default=[], help='to show beside the first one (default: all)')
    parser.add_argument(
        '--measures',
        nargs='+',
        default=[],
        metavar='KEY',
        help='to show, in this order, by their keys in the files (default: what there is of '
        f'{", ".join(STUDY_MEASURES)})',
    )
    parser.add_argument(
        '--into', type=Path, metavar='FILE.md', help='put the table between the two lines <!-- MARK --> of this page'
    )
    parser.add_argument('--mark', default='study', help='the word in these two lines (default: study)')
    parser.add_argument(
        '--figure', type=Path, metavar='FILE', help=f'draw the differences into this file ({", ".join(FORMATS)})'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.figure and args.figure.suffix not in FORMATS:
        raise InputError(f'--figure {args.figure}: its name must end in {", ".join(FORMATS)}')
    study = read_comparisons(args.comparison, args.conditions, args.measures)
    table = study_table(study)
    if args.into:
        cli.put_between(args.into, f'<!-- {args.mark} -->', table)
    else:
        print(table)
    if args.figure:
        content = io.BytesIO()
        plot_study(study).savefig(content, format=args.figure.suffix[1:], dpi=110)
        args.figure.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(args.figure, content.getvalue())


if __name__ == '__main__':
    _start.run(main)

"""Put what a comparison has found into a page, as a table."""

import argparse
from pathlib import Path

from fnoise_mmdet import cli
from fnoise_mmdet.analysis.study_table import MEASURES, study_table

MARK = '<!-- study -->'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Print the figures of a comparison as a table in Markdown, a row for each condition under each '
        'measure, or put it into a page.',
        epilog='example: python tools/study_table.py docs/study/demo.json --into README.md',
    )
    parser.add_argument('comparison', type=Path, help='comparison.json that tools/compare.py has written')
    parser.add_argument('--conditions', nargs='+', default=[], help='to show beside the first one (default: all)')
    parser.add_argument(
        '--measures',
        nargs='+',
        default=[],
        metavar='KEY',
        help=f'to show (default: what there is of {", ".join(MEASURES)})',
    )
    parser.add_argument('--into', type=Path, metavar='FILE.md', help=f'put it between the two lines {MARK!r} of it')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    table = study_table(args.comparison, args.conditions, args.measures)
    if args.into:
        cli.put_between(args.into, MARK, table)
    else:
        print(table)


if __name__ == '__main__':
    cli.run(main)

"""Compare two runs: losses side by side and overlaid, and a table."""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fnoise_mmdet import cli
from fnoise_mmdet.analysis import Comparison, Run, compare_runs, mismatches, plot_losses, read_run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Compare two runs: total and component losses side by side and overlaid, and a table of final '
        'losses, AP and time an iteration. Writes losses.png, comparison.md and comparison.json.',
        epilog='example: python tools/compare.py work_dirs/demo_baseline work_dirs/demo_fnoise --out work_dirs/demo',
    )
    parser.add_argument('run_a', type=Path, help='work dir or scalars.json of the first run, e.g. the baseline')
    parser.add_argument('run_b', type=Path, help='work dir or scalars.json of the second run')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to')
    parser.add_argument('--names', nargs=2, metavar=('A', 'B'), help='names to show (default: those of the work dirs)')
    return parser.parse_args()


def cells(row: Comparison) -> list[str]:
    def show(value: float | None, form: str) -> str:
        return '–' if value is None else format(value, form)

    return [row.figure, show(row.a, '.4f'), show(row.b, '.4f'), show(row.difference, '+.4f')]


def to_markdown(heads: list[str], rows: list[Comparison], warnings: list[str]) -> str:
    lines = [heads, ['---'] + ['---:'] * (len(heads) - 1), *map(cells, rows)]
    table = ''.join(f'| {" | ".join(line)} |\n' for line in lines)
    return table + ''.join(f'\nThe runs differ in more than the noise: {warning}\n' for warning in warnings)


def to_json(a: Run, b: Run, rows: list[Comparison], warnings: list[str]) -> str:
    content = dict(
        a=a.name,
        b=b.name,
        rows=[dict(figure=row.figure, a=row.a, b=row.b, difference=row.difference) for row in rows],
        mismatches=warnings,
    )
    return json.dumps(content, indent=2) + '\n'


def main() -> None:
    args = parse_args()
    name_a, name_b = args.names or (None, None)
    a, b = read_run(args.run_a, name_a), read_run(args.run_b, name_b)
    rows, warnings = compare_runs(a, b), mismatches(a, b)
    heads = ['', a.name, b.name, 'difference']

    args.out.mkdir(parents=True, exist_ok=True)
    plot_losses(a, b).savefig(args.out / 'losses.png', dpi=100)
    (args.out / 'comparison.md').write_text(to_markdown(heads, rows, warnings), encoding='utf-8')
    (args.out / 'comparison.json').write_text(to_json(a, b, rows, warnings), encoding='utf-8')

    table = Table(*heads)
    for row in rows:
        table.add_row(*cells(row))
    console = Console()
    console.print(table)
    for warning in warnings:
        console.print(f'The runs differ in more than the noise: {warning}')
    print(f'wrote {args.out / "losses.png"}, comparison.md and comparison.json')


if __name__ == '__main__':
    cli.run(main)

"""Compare runs: losses, AP and validation loss over seeds, with intervals, in one HTML report."""

import _start

import argparse
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fnoise_mmdet import cli
from fnoise_mmdet.arguments import ArgumentParser
from fnoise_mmdet.comparison import (
    Comparison,
    Condition,
    Run,
    compare,
    find_groups,
    is_run,
    read_conditions,
    verdict,
)
from fnoise_mmdet.comparison.forest_plot import forest_plot
from fnoise_mmdet.comparison.learning_curve import worth_table
from fnoise_mmdet.comparison.measure_table import measure_table, study_page
from fnoise_mmdet.comparison.measures import HIGHER, STUDY_MEASURES
from fnoise_mmdet.comparison.report import Picture, detection_pictures, write_report
from fnoise_mmdet.comparison.saved_comparison import SavedComparison, read_comparisons
from fnoise_mmdet.comparison.study_file import study_conditions
from fnoise_mmdet.datasets.files import staged_folder, write_atomically
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.studies.early_stopping import cut_after
from fnoise_mmdet.visualization.markup import replace_undecodable

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
            'docs/study/embedded/seeds_*.json --conditions cct_0.3 --figure differences.png',
        ],
    )
    parser.add_argument(
        'runs',
        nargs='*',
        type=Path,
        help='work dirs or scalars.json of runs, each a group by itself, or folders that hold runs (FOLDER/RUN) or '
        'groups of runs (FOLDER/GROUP/RUN), as tools/run_pair.py makes them; without --out the comparison.json of '
        'reports, under any name',
    )
    parser.add_argument(
        '--group',
        action='append',
        default=[],
        metavar='NAME=RUN,RUN',
        help='a group of runs that differ in their seed alone; the others are compared with the first one',
    )
    parser.add_argument('--out', type=Path, help='folder to write the report to')
    parser.add_argument('--force', action='store_true', help='replace what is in the folder')
    parser.add_argument('--title', help='heading of the report')
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help='names to show for RUNS (default: those of the folders)'
    )
    parser.add_argument(
        '--images',
        type=cli.at_least(0),
        default=3,
        help='validation images with detections, chosen by what they show',
    )
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score that is shown at first')
    saved = parser.add_argument_group('the table of a comparison.json, without --out')
    saved.add_argument('--conditions', nargs='+', default=[], help='conditions to show beside the first one')
    saved.add_argument(
        '--measures',
        nargs='+',
        default=[],
        metavar='KEY',
        help=f'measures to show, in this order (default: those available of {", ".join(STUDY_MEASURES)})',
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
    saved.add_argument('--into', type=Path, metavar='FILE.md', help='replace what is between two lines <!-- MARK -->')
    saved.add_argument('--mark', default='study', help='the word in these lines')
    saved.add_argument('--figure', type=Path, metavar='FILE', help=f'draw a forest plot ({", ".join(FIGURE_SUFFIXES)})')
    args = parser.parse_args()
    if not args.runs and not args.group:
        parser.error('name runs, a folder that holds them, or groups with --group')
    if args.out is None and (args.group or any(path.is_dir() for path in args.runs)):
        parser.error('--out is required to compare runs; without it name the comparison.json of reports')
    if args.out is not None and (args.conditions or args.measures or args.curve or args.into or args.figure):
        parser.error('--conditions, --measures, --curve, --into and --figure show a comparison.json, without --out')
    if args.figure and args.figure.suffix not in FIGURE_SUFFIXES:
        parser.error(f'--figure {args.figure}: its name must end in {", ".join(FIGURE_SUFFIXES)}')
    return args


def show_saved(args: argparse.Namespace) -> None:
    """Print the table of saved comparisons, or put it into a page, and draw the forest plot."""
    study = read_comparisons(args.runs, args.conditions, args.measures)
    table = study_page(study)
    if args.curve:
        curve = dict(read_point(text, study) for text in args.curve)
        table += f'\n\n{worth_table(study.measures[0], curve, next(iter(curve))).markdown()}'
    if args.into:
        cli.put_between(args.into, f'<!-- {args.mark} -->', table)
    else:
        print(table)
    if args.figure:
        content = io.BytesIO()
        figure = forest_plot(study.conditions, study.measures, study.differences)
        figure.savefig(content, format=args.figure.suffix[1:], dpi=110)
        args.figure.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(args.figure, content.getvalue())


def read_point(text: str, study: SavedComparison) -> tuple[int, dict[int, float]]:
    """Read LABELS=CONDITION or LABELS=FILE,FILE: a point of a learning curve, with its values by seed."""
    labels, found, source = text.partition('=')
    measure = study.measures[0]
    if measure.better != HIGHER:
        raise InputError(f'--curve needs an AP as the first measure, not the {measure.label}: give --measures')
    if not found or not labels.isdigit() or int(labels) < 1:
        raise InputError(f'--curve {text} is not of the form LABELS=CONDITION or LABELS=FILE')
    if source in measure.values:
        return int(labels), measure.values[source]
    other = read_comparisons([Path(file) for file in source.split(',')], measures=[measure.key])
    return int(labels), other.measures[0].values[other.conditions[0]]


def named_group(text: str) -> tuple[str, list[Path]]:
    """Read NAME=RUN,RUN."""
    name, found, listed = text.partition('=')
    paths = [Path(path) for path in listed.split(',') if path]
    if not found or not name or not paths:
        raise InputError(f'--group {text} is not of the form NAME=RUN,RUN')
    for path in paths:
        if not path.exists() or not is_run(path):
            raise InputError(f'--group {name}: {path} is no run, that is a work dir or a scalars.json')
    return replace_undecodable(name), paths


def reference_first(groups: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Put what is called a baseline first, where folders are listed by their names."""
    return dict(sorted(groups.items(), key=lambda item: 'baseline' not in item[0].lower()))


def read_groups(args: argparse.Namespace) -> dict[str, list[Path]]:
    groups = find_groups(args.runs)
    if len(args.runs) == 1:
        order = study_conditions(args.runs[0])
        groups = {name: groups[name] for name in [*order, *groups] if name in groups}
    if args.names:
        if len(set(args.names)) < len(args.names) or not all(args.names):
            raise InputError(f'--names must differ and not be empty, but got {", ".join(map(repr, args.names))}')
        if len(args.names) != len(groups):
            raise InputError(f'--names needs a name for each of {len(groups)} groups: {", ".join(groups)}')
        groups = dict(zip(map(replace_undecodable, args.names), groups.values()))
    if len(args.runs) == 1:
        groups = reference_first(groups)
    for name, paths in map(named_group, args.group):
        if name in groups:
            raise InputError(f'two groups are called {name}')
        groups[name] = paths
    return groups


def without_cut(groups: dict[str, list[Path]]) -> tuple[dict[str, list[Path]], list[str]]:
    """Exclude the conditions that early stopping has cut, which are not trained to the end.

    Raises:
        InputError: There are no others.
    """
    kept: dict[str, list[Path]] = {}
    warnings = []
    for name, paths in groups.items():
        cut = {epoch for path in paths if (epoch := cut_after(path)) is not None}
        if cut:
            warnings.append(f'{name} was cut after epoch {min(cut)} by its sweep, and is excluded')
        else:
            kept[name] = paths
    if not kept:
        raise InputError(f'nothing is left to compare: {"; ".join(warnings)}')
    return kept, warnings


def feature_panels(conditions: Sequence[Condition], most: int = 4) -> list[Picture]:
    """Return the last feature maps of one image by the first run of each condition, of a validation image if any."""
    of_runs = [(run, latest_panels(run)) for condition in conditions[:most] for run in condition.runs[:1]]
    common = set.intersection(*(set(panels) for _, panels in of_runs)) if of_runs else set()
    pictures = []
    for run, panels in of_runs:
        for name in sorted(common or panels, key=lambda name: ('val' not in name, name))[:1]:
            pictures.append(Picture.read(panels[name], f'{run.name}: {panels[name].name}'))
    return [picture for picture in pictures if picture is not None]


def latest_panels(run: Run) -> dict[str, Path]:
    """Return the last feature maps that a run has drawn, by the name of their image."""
    files = run.work_dir.glob('*/vis_data/vis_image/feature_maps_*.png') if run.work_dir else []
    named = [(*file.stem.rpartition('_'), file) for file in files]
    return {name: file for name, _, step, file in sorted(named, key=lambda one: int(one[2]))}


def print_comparison(comparison: Comparison, console: Console) -> None:
    names = [condition.name for condition in comparison.conditions]
    console.print(measure_table(names, comparison.measures, comparison.differences).terminal())
    for sentence in verdict(comparison):
        console.print(sentence)
    for warning in comparison.warnings:
        console.print(f'warning: {warning}')


def main() -> None:
    args = parse_args()
    if args.out is None:
        show_saved(args)
        return
    groups, cut = without_cut(read_groups(args))
    conditions, warnings = read_conditions(groups)
    with staged_folder(args.out, args.force) as folder:
        comparison = compare(conditions, [*cut, *warnings], cli.show_progress)
        names = [condition.name for condition in conditions]
        others = ' and '.join(names[1:]) if len(names) <= 4 else f'{len(names) - 1} conditions'
        write_report(
            folder,
            comparison,
            title=args.title or f'{others or names[0]} against {names[0]}',
            panels=feature_panels(conditions),
            detections=detection_pictures(conditions, args.images, args.score_thr),
            score_thr=args.score_thr,
            command=shlex.join(['python', *sys.argv]),
        )
    print_comparison(comparison, cli.console())
    print(f'wrote {args.out / "report.html"}, figures/, comparison.json, comparison.csv, curves.csv and comparison.md')


if __name__ == '__main__':
    _start.run(main)

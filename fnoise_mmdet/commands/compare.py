"""Compare runs: losses, AP and validation loss over seeds, with intervals, in one HTML report."""

import argparse
import io
import itertools
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from ..cli.parser import command_for, command_name
from ..comparison import (
    Comparison,
    Condition,
    Run,
    compare,
    find_groups,
    is_run,
    read_conditions,
    verdict,
)
from ..comparison.charts import snr_group
from ..comparison.forest_plot import forest_plot
from ..comparison.learning_curve import learning_curves, worth_table
from ..comparison.measure_table import measure_table, regime_page, study_page
from ..comparison.measures import HIGHER, STUDY_MEASURES, Measure
from ..comparison.plots import plot_charts
from ..comparison.regime_map import regime_map
from ..comparison.report import Picture, detection_pictures, write_report
from ..comparison.saved_comparison import SavedComparison, join_comparisons, read_comparisons
from ..comparison.study_file import study_conditions
from ..datasets.files import staged_folder, write_atomically
from ..errors import InputError
from ..studies.early_stopping import cut_after
from ..visualization.markup import replace_undecodable
from .output import put_between, show_progress, terminal

Figures = dict[Path, Callable[[], Figure]]  # file and what draws it


def show_saved(args: argparse.Namespace) -> None:
    """Print the table of saved comparisons, or put it into a page, and draw their figures."""
    page, figures = regimes(args) if args.regime else one_study(args)
    if args.into:
        put_between(args.into, f'<!-- {args.mark} -->', page)
    else:
        print(page)
    for path, draw in figures.items():
        write_figure(path, draw())


def one_study(args: argparse.Namespace) -> tuple[str, Figures]:
    """Return the table of a study in Markdown, and its figures.

    Raises:
        InputError: The study cannot be read, or has not what is to be drawn.
    """
    joined = join_comparisons(args.runs)
    study = joined.showing(args.conditions, args.measures)
    page = study_page(study)
    if args.curve:
        curve = dict(read_point(text, study) for text in args.curve)
        page += f'\n\n{worth_table(study.conditions, {next(iter(curve)): study.measures[0]}, curve).markdown()}'
    figures: Figures = {}
    if args.figure:
        figures[args.figure] = partial(forest_plot, study.conditions, study.measures, study.differences)
    if args.deployment_figure:
        group = snr_group(study.conditions, joined.measures)
        if not group.rows:
            raise InputError(
                f'{study.files} has no AP of features as on hardware: measure it with {command_for("robustness")} '
                '--deployment'
            )
        figures[args.deployment_figure] = partial(plot_charts, group)
    return page, figures


def regimes(args: argparse.Namespace) -> tuple[str, Figures]:
    """Return the table of several studies in Markdown, and its figure: the map of regimes or the learning curves.

    Raises:
        InputError: A study cannot be read, or is not one of a number of labelled images as --label-counts says.
    """
    studies = read_regimes(args)
    if not args.label_counts:
        return regime_page(studies), {args.figure: partial(regime_map, studies)} if args.figure else {}
    for name in studies:
        if not name.isdecimal() or int(name) < 1:
            raise InputError(f'--label-counts: {name}, the name of a regime, is not a number of labelled images')
    studies = {name: studies[name] for name in sorted(studies, key=int)}
    references = {(study.measures[0].key, study.conditions[0]) for study in studies.values()}
    if len(references) > 1:
        listed = ' and '.join(f'{measure} of {reference}' for measure, reference in sorted(references))
        raise InputError(f'--label-counts: the regimes differ in the first measure or the reference: {listed}')
    measures = {int(name): require_ap(study.measures[0]) for name, study in studies.items()}
    curve = {int(name): study.measures[0].values[study.conditions[0]] for name, study in studies.items()}
    names = list(dict.fromkeys(name for study in studies.values() for name in study.conditions))
    page = f'{regime_page(studies)}\n\n{worth_table(names, measures, curve).markdown()}'
    return page, {args.figure: partial(learning_curves, names, measures)} if args.figure else {}


def require_ap(measure: Measure) -> Measure:
    """Return the first measure of a study, from which a learning curve is drawn.

    Raises:
        InputError: It is not better when it is higher.
    """
    if measure.better != HIGHER:
        raise InputError(
            f'a learning curve needs an AP as the first measure, not {measure.label}: choose one with --measures'
        )
    return measure


def write_figure(path: Path, figure: Figure) -> None:
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=110)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())


def read_regimes(args: argparse.Namespace) -> dict[str, SavedComparison]:
    """Read the saved comparisons of --regime by name.

    Raises:
        InputError: An option is not of the form NAME=FILE,FILE, a name occurs twice, a file cannot be read or has
            none of --measures, or a condition of --conditions or a measure of --measures is in none.
    """
    studies: dict[str, SavedComparison] = {}
    available: set[str] = set()
    for text in args.regime:
        name, paths = named_paths('--regime', text, 'FILE')
        if name in studies:
            raise InputError(f'two regimes are called {name}')
        study = join_comparisons(paths)
        there = [measure.key for measure in study.measures]
        available.update(there)
        shown = [key for key in args.measures or STUDY_MEASURES if key in there]
        if not shown:
            raise InputError(f'{study.files} has none of the measures to show, but {", ".join(there)}')
        studies[name] = study.showing(measures=shown if args.measures else shown[:1])
    conditions = {name for study in studies.values() for name in study.conditions[1:]}
    for what, wanted, found in (('condition', args.conditions, conditions), ('measure', args.measures, available)):
        for name in wanted:
            if name not in found:
                raise InputError(f'no regime has the {what} {name}, but {", ".join(sorted(found))}')
    return {name: study.with_conditions(args.conditions) for name, study in studies.items()}


def read_point(text: str, study: SavedComparison) -> tuple[int, dict[int, float]]:
    """Read LABELS=CONDITION or LABELS=FILE,FILE: a point of a learning curve, with its values by seed.

    Raises:
        InputError: If the text has another form, a file cannot be read, or the first measure is no AP.
    """
    labels, found, source = text.partition('=')
    measure = require_ap(study.measures[0])
    if not found or not labels.isdigit() or int(labels) < 1:
        raise InputError(f'--curve {text} is not of the form LABELS=CONDITION or LABELS=FILE')
    if source in measure.values:
        return int(labels), measure.values[source]
    other = read_comparisons([Path(file) for file in source.split(',')], measures=[measure.key])
    return int(labels), other.measures[0].values[other.conditions[0]]


def named_paths(option: str, text: str, what: str) -> tuple[str, list[Path]]:
    """Split NAME=PATH,PATH of an option.

    Raises:
        InputError: If the text has another form.
    """
    name, _, listed = text.partition('=')
    paths = [Path(path) for path in listed.split(',') if path]
    if not name or not paths:
        raise InputError(f'{option} {text} is not of the form NAME={what},{what}')
    return name, paths


def named_group(text: str) -> tuple[str, list[Path]]:
    """Read NAME=RUN,RUN.

    Raises:
        InputError: If the text has another form, or a path is not a run.
    """
    name, paths = named_paths('--group', text, 'RUN')
    for path in paths:
        if not path.exists() or not is_run(path):
            raise InputError(f'--group {name}: {path} is not a run (a work dir or a scalars.json)')
    return replace_undecodable(name), paths


def reference_first(groups: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Put groups named baseline first, since folders are sorted by name."""
    return dict(sorted(groups.items(), key=lambda item: 'baseline' not in item[0].lower()))


def read_groups(args: argparse.Namespace) -> dict[str, list[Path]]:
    """Return the runs of each group, as the arguments name and order them.

    Raises:
        InputError: If there are no runs, or the names do not fit the groups or are not unique.
    """
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
    """Exclude the conditions that were stopped early.

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
    steps = [(int(step), name, file) for name, _, step, file in named if step.isdecimal()]
    return {name: file for _, name, file in sorted(steps)}


def print_comparison(comparison: Comparison, console: Console) -> None:
    names = [condition.name for condition in comparison.conditions]
    console.print(measure_table(names, comparison.measures, comparison.differences).terminal())
    for sentence in verdict(comparison):
        console.print(sentence)
    for warning in comparison.warnings:
        console.print(f'warning: {warning}')


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.out is None:
        show_saved(args)
        return
    groups = read_groups(args)
    kept, cut = without_cut(groups)
    conditions, warnings = read_conditions(kept)
    with staged_folder(args.out, args.force, itertools.chain(*groups.values())) as folder:
        comparison = compare(conditions, [*cut, *warnings], show_progress)
        names = [condition.name for condition in conditions]
        others = ' and '.join(names[1:]) if len(names) <= 4 else f'{len(names) - 1} conditions'
        write_report(
            folder,
            comparison,
            title=args.title or f'{others or names[0]} against {names[0]}',
            panels=feature_panels(conditions),
            detections=detection_pictures(conditions, args.images, args.score_thr),
            score_thr=args.score_thr,
            command=shlex.join([*command_name(), *sys.argv[1:]]),
        )
    print_comparison(comparison, terminal())
    print(f'wrote {args.out / "report.html"}, figures/, comparison.json, comparison.csv, curves.csv and comparison.md')

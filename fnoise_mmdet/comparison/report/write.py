"""Writing a comparison: report.html, figures, numbers."""

import base64
import csv
import gzip
import io
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ...version import __version__
from ...visualization import IOU_THR
from ...visualization.markup import escape_markdown
from .. import (
    Chart,
    ChartGroup,
    Comparison,
    Difference,
    Line,
    Run,
    changed_settings,
    chart_groups,
    plot_charts,
    scale_series,
    settings_of,
    verdict,
)
from ..charts import SMOOTHED_PART
from ..classes import class_tables, precision_group
from ..forest_plot import forest_plot
from ..measure_table import CONCLUSIONS, measure_table
from ..measures import STUDY_MEASURES, Common
from ..resampling import RESAMPLES
from ..robustness import Cell
from ..study_file import study_command
from ..table import Table
from ..verdict import is_untrained
from .detections import MarkedPicture
from .picture import Picture, data_address

TEMPLATES = Path(__file__).parent / 'templates'
SMOOTHING = (0.0, SMOOTHED_PART, 0.2)  # windows to choose from, as fractions of the training
MOST_POINTS = 1000  # of a line on the page; curves.csv has all
DIGITS = 6  # significant ones on the page


def write_report(
    out: Path,
    comparison: Comparison,
    title: str,
    panels: Sequence[Picture] = (),
    detections: Sequence[MarkedPicture] = (),
    score_thr: float = 0.3,
    command: str = '',
) -> None:
    """Write a comparison to a folder.

    ``report.html`` holds everything and needs no other file. The figures are
    in ``figures/`` as PNG and SVG, the numbers in ``comparison.json``,
    ``comparison.csv`` (one line per run and measure), ``curves.csv`` and, as a
    table to read, ``comparison.md``.

    Args:
        out: Folder that exists.
        comparison: The figures and their differences.
        title: Heading of the report.
        panels: Pictures of feature maps.
        detections: Pictures with detections, see :func:`.detection_pictures`.
        score_thr: Lowest score that is shown at first.
        command: The command that has made this report.
    """
    figures = out / 'figures'
    figures.mkdir()
    choices = {part: _groups(comparison, part) for part in SMOOTHING}
    groups = choices[SMOOTHED_PART]
    for group in groups:
        figure = plot_charts(group)
        figure.savefig(figures / f'{group.key}.png', dpi=100)
        figure.savefig(figures / f'{group.key}.svg')
    differences = None
    measures = [one for one in comparison.measures if one.key in STUDY_MEASURES]
    if any(one.seeds and one.measure in measures for one in comparison.differences):
        figure = forest_plot([one.name for one in comparison.conditions], measures, comparison.differences)
        figure.savefig(figures / 'differences.png', dpi=110)
        figure.savefig(figures / 'differences.svg')
        differences = data_address((figures / 'differences.svg').read_bytes(), 'image/svg+xml')
    sentences = verdict(comparison)
    html = _render(
        comparison,
        list(choices.values()),
        differences=differences,
        title=title,
        verdict=sentences,
        panels=panels,
        detections=detections,
        score_thr=score_thr,
        command=command,
    )
    content = {
        'report.html': html,
        'comparison.json': json.dumps(to_json(comparison, sentences), indent=2) + '\n',
        'comparison.csv': _measures_csv(comparison),
        'curves.csv': _curves_csv(groups),
        'comparison.md': to_markdown(comparison, sentences),
    }
    for name, text in content.items():  # a path in a command may have bytes that are not UTF-8
        (out / name).write_text(text, encoding='utf-8', errors='backslashreplace')


def _render(comparison: Comparison, choices: Sequence[Sequence[ChartGroup]], command: str, **content: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    names = [condition.name for condition in comparison.conditions]
    groups, charts = _charts(choices)
    main = comparison.measures[0]
    runs = [run for condition in comparison.conditions for run in condition.runs]
    excluded = [run for condition in comparison.conditions for run in condition.excluded]
    return environment.get_template('report.html.j2').render(
        css=Markup((TEMPLATES / 'report.css').read_text(encoding='utf-8')),
        script=Markup((TEMPLATES / 'report.js').read_text(encoding='utf-8')),
        packed={'plotly': _packed(get_plotlyjs()), 'charts': _packed(json.dumps(charts))},
        subtitle=f'{", ".join(f"{len(one.runs)} × {one.name}" for one in comparison.conditions)}',
        warnings=comparison.warnings,
        names=names,
        numbers=_table(comparison, components=False),
        component_numbers=_table(comparison, components=True),
        badges=[] if is_untrained(main) else [one for one in comparison.differences if one.measure is main],
        conclusions=CONCLUSIONS,
        resamples=RESAMPLES,
        robust=_describe_cells(Common.of(runs).cells),
        groups=groups,
        class_tables=class_tables(names, comparison.classes),
        smoothing=SMOOTHING,
        smoothed_part=SMOOTHED_PART,
        settings=setting_differences(comparison),
        recorded=any('config' in run.record for run in runs),
        runs=[_run(run, 'excluded' if run in excluded else run.diverged() or 'finished') for run in runs + excluded],
        environments=_environments(runs + excluded),
        commands=[*_study_commands(runs + excluded), *([command] if command else [])],
        run_commands=[shlex.join(run.record['command']) for run in runs + excluded if 'command' in run.record],
        contents=[
            ('verdict', 'Verdict'),
            ('numbers', 'Numbers'),
            *((group['key'], group['title']) for group in groups),
            *([('features', 'Feature maps')] if content['panels'] else []),
            *([('detections', 'Detections')] if content['detections'] else []),
            ('settings', 'Settings'),
            ('runs', 'Runs'),
            ('repeat', 'Reproduce'),
        ],
        iou_thr=IOU_THR,
        version=__version__,
        **content,
    )


def _groups(comparison: Comparison, smoothed_part: float) -> list[ChartGroup]:
    """Return all charts, those of precision after those of AP."""
    groups = chart_groups(comparison.conditions, smoothed_part)
    precision = precision_group(comparison.conditions, comparison.classes)
    if precision:
        place = next((place for place, group in enumerate(groups, start=1) if group.key == 'ap'), len(groups))
        groups.insert(place, precision)
    return groups


def _table(comparison: Comparison, components: bool) -> Table:
    """Return the table of the main measures, or of the others, such as single terms of the loss."""
    measures = [measure for measure in comparison.measures if measure.is_component == components]
    names = [condition.name for condition in comparison.conditions]
    return measure_table(names, measures, comparison.differences)


def _describe_cells(cells: Sequence[Cell]) -> str:
    """Say what a mean is over, empty for nothing."""
    names, severities = {name for name, _ in cells}, sorted({severity for _, severity in cells})
    return f'{len(names)} corruptions at severity {", ".join(map(str, severities))}' if cells else ''


def _charts(choices: Sequence[Sequence[ChartGroup]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the groups for the template, and lines and charts for the script.

    Args:
        choices: The groups of charts, smoothed in several ways.
    """
    lines: dict[str, int] = {}  # by their JSON, since most charts share theirs with another one

    def places(chart: Chart) -> list[int]:
        return [lines.setdefault(_line(line), len(lines)) for line in chart.lines]

    shown: list[dict[str, Any]] = []
    charts: list[dict[str, Any]] = []
    for group, *others in zip(*choices):
        numbers = []
        for row, *smoothed in zip(group.rows, *(other.rows for other in others)):
            numbers.append(range(len(charts), len(charts) + len(row)))
            ranges = [_y_range(one) for one in (row, *smoothed)]
            charts += [
                dict(
                    title=chart.title,
                    x_label=chart.x_label,
                    y_label=chart.y_label,
                    lines=[places(one) for one in (chart, *same)],
                    y_range=ranges,
                    zero=chart.is_difference,
                    single=chart.is_single,
                    span=chart.span,
                )
                for chart, *same in zip(row, *smoothed)
            ]
        # All but the first quantity and its differences are folded.
        starts = [place for place, row in enumerate(group.rows) if not row[0].is_difference]
        shown.append({**group._asdict(), 'rows': numbers, 'folded': (*starts, len(group.rows))[1]})
    return shown, dict(charts=charts, lines=[json.loads(line) for line in lines])


def _line(line: Line) -> str:
    """Return a line as JSON with few digits, and with few points if it is long."""
    few = slice(None, None, math.ceil(len(line.x) / MOST_POINTS))
    x, mean, low, high = (
        [float(f'{value:.{DIGITS}g}') if math.isfinite(value) else None for value in values[few]]
        for values in (line.x, line.mean, line.low, line.high)
    )
    return json.dumps(dict(label=line.label, colour=line.colour, x=x, mean=mean, low=low, high=high))


def _packed(text: str) -> str:
    """Return text compressed by gzip in base64: the page unpacks it, which makes it a third of the size."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _y_range(row: Sequence[Chart]) -> tuple[float, float] | None:
    """Return the range of the y axis for charts of one quantity, so that heights can be compared."""
    if len(row) < 2 or len({chart.y_label for chart in row}) > 1:
        return None
    ends = [value for chart in row for line in chart.lines for value in (*line.low, *line.high) if math.isfinite(value)]
    if not ends:
        return None
    margin = 0.05 * (max(ends) - min(ends)) or 0.5
    return min(ends) - margin, max(ends) + margin


def setting_differences(comparison: Comparison) -> list[tuple[str, list[Any]]]:
    """Return the settings in which conditions differ from the reference, with every condition's value."""
    settings = [settings_of(condition.runs[0]) if condition.runs else {} for condition in comparison.conditions]
    known = [one for one in settings if one]
    if len(known) < 2:
        return []
    keys = sorted({key for one in known[1:] for key in changed_settings(known[0], one)})
    return [(key, [one.get(key, '–') for one in settings]) for key in keys]


def _run(run: Run, state: str) -> dict[str, Any]:
    last = run.train[-1]
    return dict(
        name=run.name,
        seed='–' if run.seed is None else run.seed,
        iterations=last['step'],
        epochs=last.get('epoch', '–'),
        state=state,
    )


def _environments(runs: Sequence[Run]) -> list[tuple[dict[str, str], list[str]]]:
    """Return the different environments, each with the runs that were made in it."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if 'environment' in run.record:
            found.setdefault(json.dumps(run.record['environment']), []).append(run)
    return [(json.loads(text), [run.name for run in of_it]) for text, of_it in found.items()]


def _study_commands(runs: Sequence[Run]) -> list[str]:
    """Return the commands of the studies that have made the runs."""
    found = (study_command(run.work_dir) for run in runs if run.work_dir)
    return list(dict.fromkeys(command for command in found if command))


def to_json(comparison: Comparison, sentences: Sequence[str]) -> dict[str, Any]:
    """Return everything that was measured, for other programs; NaN is null."""

    def clean(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    def difference(one: Difference) -> dict[str, Any]:
        return dict(
            condition=one.condition,
            reference=one.reference,
            mean=one.mean,
            by_seed=one.by_seed,
            interval_seeds_t=one.seeds,
            interval_images_bootstrap=one.images,
            conclusion=one.conclusion,
        )

    return dict(
        verdict=list(sentences),
        warnings=comparison.warnings,
        conditions={
            one.name: dict(runs=[run.name for run in one.runs], excluded=[run.name for run in one.excluded])
            for one in comparison.conditions
        },
        measures=[
            dict(
                key=measure.key,
                label=measure.label,
                better=measure.better,
                values={
                    name: {seed: clean(value) for seed, value in of_seeds.items()}
                    for name, of_seeds in measure.values.items()
                },
                mean={name: clean(measure.mean(name)) for name in measure.values},
                differences=[difference(one) for one in comparison.differences if one.measure.key == measure.key],
            )
            for measure in comparison.measures
        ],
        scales=[
            {**series._asdict(), 'points': [point._asdict() for point in series.points]}
            for series in scale_series(comparison.conditions, comparison.measures)
        ],
        settings=dict(setting_differences(comparison)),
        environments=[
            dict(environment=environment, runs=names)
            for environment, names in _environments(
                [run for one in comparison.conditions for run in (*one.runs, *one.excluded)]
            )
        ],
    )


def to_markdown(comparison: Comparison, sentences: Sequence[str]) -> str:
    """Return the verdict and the main figures as Markdown."""
    notes = ''.join(f'- {escape_markdown(warning)}\n' for warning in comparison.warnings)
    return '\n\n'.join([*map(escape_markdown, sentences), _table(comparison, components=False).markdown() + '\n']) + (
        f'\n{notes}' if notes else ''
    )


def _csv(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(heads)
    writer.writerows(rows)
    return buffer.getvalue()


def _measures_csv(comparison: Comparison) -> str:
    rows = [
        (measure.key, name, seed, value)
        for measure in comparison.measures
        for name, of_seeds in measure.values.items()
        for seed, value in of_seeds.items()
    ]
    return _csv(['measure', 'condition', 'seed', 'value'], rows)


def _curves_csv(groups: Sequence[ChartGroup]) -> str:
    # A condition's own chart and the overlaid one have the same line.
    rows = dict.fromkeys(
        (group.key, chart.y_label, line.label, *point)
        for group in groups
        for row in group.rows
        for chart in row
        for line in chart.lines
        for point in zip(line.x, line.mean, line.low, line.high)
    )
    return _csv(['figure', 'quantity', 'condition', 'x', 'mean', 'lowest', 'highest'], list(rows))

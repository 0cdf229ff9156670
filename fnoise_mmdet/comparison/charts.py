"""Data of the charts of a comparison, independent of the plotting library."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .conditions import Condition
from .intervals import t_interval
from .measures import ROBUST_METRICS, SNR_DB, Common, Measure, collect_measures
from .runs import Row, Run
from .scales import scale_series

# Window of the moving average, as a fraction of the training.
SMOOTHED_PART = 0.05
SNR_LABEL = 'SNR (dB)'
SNR_SPAN = 10  # minimum span of an axis in dB, so that insignificant variation looks small
SNR_MEANING = (
    'The signal-to-noise ratio (SNR) of every perturbed level is that of the powers of features and noise: at 20 dB '
    'the noise has a hundredth of the power, at 10 dB a tenth, at 0 dB as much; uniform noise of scale 0.3 has 15.2 dB.'
)


class Line(NamedTuple):
    """One condition: at each x the mean over its seeds, the minimum and the maximum.

    ``colour`` is the index of the condition among all; a gap is NaN.
    """

    label: str
    colour: int
    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


class Chart(NamedTuple):
    """One pair of axes; ``is_difference`` if its lines are differences to the first condition.

    ``is_single`` if it shows one condition of several, which the last chart of the row overlays; the y axis spans at
    least ``span``.
    """

    title: str
    x_label: str
    y_label: str
    lines: list[Line]
    is_difference: bool = False
    is_single: bool = False
    span: float = 0


class ChartGroup(NamedTuple):
    """Related charts, arranged in rows; ``key`` names their files.

    ``is_smoothed`` if its lines are moving averages, ``is_loss`` if its quantities are losses, which are positive.
    """

    key: str
    title: str
    note: str
    rows: list[list[Chart]]
    is_smoothed: bool = False
    is_loss: bool = False


def chart_groups(conditions: Sequence[Condition], smoothed_part: float = SMOOTHED_PART) -> list[ChartGroup]:
    """Return the charts of a comparison, of the runs that are not excluded.

    Args:
        conditions: Those of the comparison.
        smoothed_part: Window of the moving average of what is logged by iteration, as a fraction of the training.
    """
    runs = [run for condition in conditions for run in condition.runs]
    losses = [loss for loss in runs[0].losses() if all(loss in run.losses() for run in runs)] if runs else []
    longest = max((len(run.train) for run in runs), default=0)
    window = max(1, round(longest * smoothed_part))

    def train(key: str) -> Callable[[Run], list[tuple[float, float]]]:
        return lambda run: _points(run.train, key)

    def epoch(key: str) -> Callable[[Run], list[tuple[float, float]]]:
        return lambda run: _points(run.epochs, f'epoch/mean_{key}')

    def val(key: str) -> Callable[[Run], list[tuple[float, float]]]:
        return lambda run: _points(run.val, key)

    names = [condition.name for condition in conditions]
    measures = list(collect_measures(conditions, losses))
    val_step = 'epoch' if all(run.by_epoch for run in runs) else 'iteration'
    cells = Common.of(runs).cells

    def severities(metric: str) -> Callable[[Run], list[tuple[float, float]]]:
        def get(run: Run) -> list[tuple[float, float]]:
            clean = run.robustness.clean(metric) if run.robustness and cells else None
            if run.robustness is None or clean is None:
                return []
            return [(0, clean), *run.robustness.by_severity(metric, cells).items()]

        return get

    def scales(metric: str) -> Callable[[Run], list[tuple[float, float]]]:
        def get(run: Run) -> list[tuple[float, float]]:
            points = run.robustness.by_scale(metric) if run.robustness else {}
            return list(points.items()) if len(points) > 1 else []

        return get

    def lines(get: Callable[[Run], list[tuple[float, float]]], smooth: int = 1) -> list[Line]:
        return [
            line
            for place, condition in enumerate(conditions)
            if (line := _line(condition, place, get, smooth)) is not None
        ]

    def beside(label: str, x_label: str, found: list[Line]) -> list[list[Chart]]:
        """Return one row of charts: each condition alone, then all overlaid."""
        if not found:
            return []
        several = found if len(found) > 1 else []
        alone = [Chart(f'{label}: {line.label}', x_label, label, [line], is_single=True) for line in several]
        return [[*alone, Chart(f'{label}: overlaid' if alone else label, x_label, label, found)]]

    def with_difference(
        label: str, x_label: str, get: Callable[[Run], list[tuple[float, float]]], smooth: int = 1
    ) -> list[list[Chart]]:
        """Return the row of charts of a quantity, and under it the difference of each condition to the first."""
        rows = beside(label, x_label, lines(get, smooth))
        different = [
            line
            for place, condition in enumerate(conditions[1:], start=1)
            if (line := _difference(conditions[0], condition, place, get, smooth)) is not None
        ]
        chart = _difference_chart(label, x_label, conditions[0].name, different)
        return [*rows, [chart]] if rows and different else rows

    def overlaid(named: Iterable[tuple[str, str, list[Line]]]) -> list[Chart]:
        return [
            Chart(title, x_label, title, found, span=SNR_SPAN if title.startswith('SNR') else 0)
            for title, x_label, found in named
            if found
        ]

    groups = [
        ChartGroup(
            'scales',
            'AP and losses against the scale of the noise',
            'Last validation and last epoch of conditions that differ in the scale alone; 0 is the detector without '
            "noise. Mean over seeds with the 95 % confidence interval (Student's t) where there are several.",
            _against_scale(conditions, measures),
        ),
        ChartGroup(
            'losses',
            'Training losses per iteration',
            'With the noise active, if any.',
            [row for loss in losses for row in with_difference(loss, 'iteration', train(loss), window)],
            is_smoothed=True,
            is_loss=True,
        ),
        ChartGroup(
            'losses_epochs',
            'Training losses, mean of each epoch',
            'With the noise active, if any.',
            [row for loss in losses for row in with_difference(f'{loss}, epoch mean', 'epoch', epoch(loss))],
            is_loss=True,
        ),
        ChartGroup(
            'validation_losses',
            'Validation losses',
            'On the validation images, without noise and without augmentation, so that a worse model can be '
            'distinguished from a training loss raised by the noise.',
            [row for loss in losses for row in with_difference(f'val_{loss}', val_step, val(f'val_{loss}'))],
            is_loss=True,
        ),
        ChartGroup(
            'ap',
            'Average precision on the validation images',
            '',
            [
                overlaid(
                    (key.split('/')[-1], val_step, lines(val(key)))
                    for key in sorted({key for run in runs for row in run.val for key in row if '/' in key})
                    if not key.endswith(('_s', '_m', '_l', '_75', 'copypaste'))
                )
            ],
        ),
        ChartGroup(
            'training',
            'Gradient norm and signal-to-noise ratio',
            SNR_MEANING,
            [
                overlaid(
                    (name, 'iteration', lines(train(key), window))
                    for key, name in [
                        ('grad_norm', 'gradient norm'),
                        ('lr', 'learning rate'),
                        *((key, f'SNR of level {key.removeprefix("snr_db_")}, dB') for key in _keys(runs, 'snr_db_')),
                        *((key, key) for key in _keys(runs, 'noise_')),
                        ('pseudo_labels', 'pseudo-labels per image'),
                    ]
                )
            ],
            is_smoothed=True,
        ),
        ChartGroup(
            'robustness',
            'Robustness to corruptions and to perturbed features',
            f'AP on the validation images: mean of {len({name for name, _ in cells})} corruptions against severity '
            '(0: clean images), against the scale of F-Noise applied in evaluation, and against the signal-to-noise '
            'ratio of features that are rounded to number formats or have the noise of analog hardware, the last with '
            "95 % confidence intervals (Student's t).",
            [
                overlaid(
                    chart
                    for metric, label in ROBUST_METRICS.items()
                    for chart in (
                        (f'{label} AP', 'severity', lines(severities(metric))),
                        (f'{label} AP, features perturbed', 'scale of the noise', lines(scales(metric))),
                        (f'{label} AP, features as on hardware', SNR_LABEL, _against_snr(names, measures, metric)),
                    )
                )
            ],
        ),
    ]
    return [group for group in groups if any(group.rows)]


def _against_scale(conditions: Sequence[Condition], measures: Sequence[Measure]) -> list[list[Chart]]:
    """Return the charts with one line per noise, and confidence intervals instead of minimum and maximum."""
    found = scale_series(conditions, measures)
    noises = list(dict.fromkeys(series.noise for series in found))
    charts: dict[str, Chart] = {}
    for series in found:
        title = series.label if len(noises) > 1 else f'{series.label}: {series.noise}'
        chart = charts.setdefault(series.label, Chart(title, 'scale of the noise', series.label, []))
        x, mean = [point.scale for point in series.points], [point.mean for point in series.points]
        low, high = zip(*(point.interval or (point.mean, point.mean) for point in series.points))
        chart.lines.append(Line(series.noise, noises.index(series.noise), x, mean, list(low), list(high)))
    return [list(charts.values())] if charts else []


def snr_group(conditions: Sequence[str], measures: Sequence[Measure]) -> ChartGroup:
    """Return the charts of AP against the signal-to-noise ratio of features as on hardware.

    The charts of the first row have the AP of all conditions, the others the
    share of the clean AP that they keep, as differences to the first one,
    paired by seed. Lines are means over seeds with Student's 95 % confidence
    intervals.

    Args:
        conditions: Names, the reference first.
        measures: Those of the conditions, with those of the single perturbations.
    """
    overlaid, paired = [], []
    for metric, label in ROBUST_METRICS.items():
        title = f'{label} AP, features as on hardware'
        if lines := _against_snr(conditions, measures, metric):
            overlaid.append(Chart(title, SNR_LABEL, title, lines))
        if lines := _against_snr(conditions, measures, metric, conditions[0]):
            paired.append([_difference_chart(f'share of {label} AP kept', SNR_LABEL, conditions[0], lines)])
    rows = [overlaid, *paired] if overlaid else []
    return ChartGroup('signal_to_noise', 'AP against the signal-to-noise ratio of the features', SNR_MEANING, rows)


def _difference_chart(label: str, x_label: str, reference: str, lines: list[Line]) -> Chart:
    title = f'{label}: difference to {reference}, paired by seed'
    return Chart(title, x_label, f'{label}, difference', lines, is_difference=True)


def _against_snr(
    conditions: Sequence[str], measures: Sequence[Measure], metric: str, reference: str = ''
) -> list[Line]:
    """Return the AP of each condition, or the difference of the share that it keeps to that of a reference, against the
    mean signal-to-noise ratio of each perturbation by hardware, with confidence intervals for minimum and maximum.
    """
    figure = f'{metric}/deployment_kept' if reference else f'{metric}/deployment'
    values = {measure.key: measure.values for measure in measures}
    names = [key.removeprefix(SNR_DB) for key in values if key.startswith(SNR_DB)]
    lines = []
    for place, condition in enumerate(conditions):
        points = []
        for name in names if condition != reference else []:
            of_metric = values.get(f'{figure} {name}', {})
            found, ratios = of_metric.get(condition, {}), values[f'{SNR_DB}{name}'].get(condition, {})
            subtracted = of_metric.get(reference, {}) if reference else dict.fromkeys(found, 0.0)
            if seeds := [seed for seed in found if seed in ratios and seed in subtracted]:
                of_seeds = [found[seed] - subtracted[seed] for seed in seeds]
                mean = float(np.mean(of_seeds))
                points.append(
                    (float(np.mean([ratios[seed] for seed in seeds])), mean, *(t_interval(of_seeds) or (mean, mean)))
                )
        if points:
            lines.append(Line(condition, place, *map(list, zip(*sorted(points)))))
    return lines


def _keys(runs: Sequence[Run], prefix: str) -> list[str]:
    return sorted({key for run in runs for row in run.train for key in row if key.startswith(prefix)})


def _points(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    return [(row['step'], float(row[key])) for row in rows if key in row]


def _line(
    condition: Condition, place: int, get: Callable[[Run], list[tuple[float, float]]], window: int
) -> Line | None:
    """Average the runs of a condition; NaN in one run makes a gap in the curve."""
    return _average(condition.name, place, [points for run in condition.runs if (points := get(run))], window)


def _difference(
    reference: Condition,
    condition: Condition,
    place: int,
    get: Callable[[Run], list[tuple[float, float]]],
    window: int,
) -> Line | None:
    """Average the differences of the runs of a condition to those of the reference with the same seed."""
    others = {seed: dict(get(run)) for seed, run in reference.by_seed().items()}
    of_pairs = []
    for seed, run in condition.by_seed().items():
        other = others.get(seed, {})
        of_pairs.append([(step, value - other[step]) for step, value in get(run) if step in other])
    return _average(condition.name, place, [points for points in of_pairs if points], window)


def _average(name: str, place: int, of_runs: Sequence[Sequence[tuple[float, float]]], window: int) -> Line | None:
    if not of_runs:
        return None
    x = sorted({step for points in of_runs for step, _ in points})
    by_step = [dict(points) for points in of_runs]
    values = np.array([smooth([found.get(step, np.nan) for step in x], window) for found in by_step])
    mean, low, high = values.mean(axis=0), values.min(axis=0), values.max(axis=0)
    return Line(name, place, list(map(float, x)), mean.tolist(), low.tolist(), high.tolist())


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Return the centred moving average, truncated at the ends. NaN is ignored in the mean, and kept in its place."""
    finite = np.isfinite(values)
    ones = np.ones(window)
    sums = np.convolve(np.where(finite, values, 0.0), ones)
    counts = np.convolve(finite.astype(float), ones)
    start = (window - 1) // 2
    inside = slice(start, start + len(values))
    with np.errstate(invalid='ignore', divide='ignore'):
        averaged = sums[inside] / counts[inside]
    return np.where(finite, averaged, np.nan).tolist()

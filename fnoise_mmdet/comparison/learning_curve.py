"""Learning curves over the number of labelled images, and the number of labels that a condition is worth."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ..visualization.markup import legend_label, without_mathtext
from .intervals import Interval, percentile_interval, t_interval
from .measures import Measure
from .numbers import number
from .plots import colour
from .table import Row, Section, Table

RESAMPLES = 9999
TINY = 1e-6  # images, by which rounding moves an end of the curve


class Worth(NamedTuple):
    """Number of labelled images with which the supervised training is as good as a condition.

    Numbers outside the range of the learning curve are unknown: its ``ends`` are bounds.
    """

    labels: float
    interval: Interval
    ends: tuple[int, int]

    def in_words(self, show: Callable[[float], str] = '{:.0f}'.format) -> str:
        """Return the number with its 95 % confidence interval as text, with ≤ or ≥ at the ends of the curve."""

        def bounded(value: float) -> str:
            sign = '≤ ' if value < self.ends[0] + TINY else '≥ ' if value > self.ends[1] - TINY else ''
            return f'{sign}{show(value)}'

        return f'{bounded(self.labels)} ({" to ".join(map(bounded, self.interval))})'


def worth_in_labels(curve: Mapping[int, Mapping[int, float]], values: Mapping[int, float]) -> Worth | None:
    """Return how many labelled images a condition is worth.

    The mean over seeds of the supervised training is interpolated linearly in
    the logarithm of the number of labelled images, and made monotone: more
    images cannot be worth less. The 95 % confidence interval is the percentile
    bootstrap over seeds, with the same seeds for curve and condition, as they
    share weights and images.

    Args:
        curve: Measure of the supervised training, higher is better, by number of labelled images and seed.
        values: Measure of the condition, by seed.

    Returns:
        The number, None with fewer than two seeds that all have, or fewer than two numbers of images.
    """
    counts = sorted(curve)
    seeds = sorted(set(values).intersection(*(curve[count] for count in counts)))
    if len(seeds) < 2 or len(counts) < 2:
        return None
    supervised = np.array([[curve[count][seed] for seed in seeds] for count in counts])
    condition = np.array([values[seed] for seed in seeds])
    draws = np.random.default_rng(0).integers(len(seeds), size=(RESAMPLES, len(seeds)))
    resampled = _interpolate(counts, supervised[:, draws].mean(axis=2), condition[draws].mean(axis=1))
    labels = _interpolate(counts, supervised.mean(axis=1, keepdims=True), condition.mean(keepdims=True))
    return Worth(float(labels[0]), percentile_interval(resampled), (counts[0], counts[-1]))


def worth_table(
    conditions: Sequence[str], measures: Mapping[int, Measure], curve: Mapping[int, Mapping[int, float]]
) -> Table:
    """Return what each condition is worth in labels, except for points of the curve.

    Args:
        conditions: Names to show.
        measures: Measure of all conditions, higher is better, by the number of labelled images that they were trained
            with.
        curve: That of the supervised training, by number of labelled images and seed.
    """
    sections = [
        Section(f'trained with {labels} labelled images', _worth_rows(conditions, measure, curve, labels))
        for labels, measure in measures.items()
    ]
    label = next(iter(measures.values())).label
    return Table(['', label, 'worth labelled images (95 % CI)', 'more labels (95 % CI)'], sections, numeric=3)


def _worth_rows(
    conditions: Sequence[str], measure: Measure, curve: Mapping[int, Mapping[int, float]], labels: int
) -> list[Row]:
    def more(value: float) -> str:
        return f'{number(round(100 * (value / labels - 1)), 0, signed=True)} %'

    rows = []
    for name in conditions:
        values = measure.values.get(name)
        if not values or values in curve.values():
            continue
        worth = worth_in_labels(curve, values)
        found = [worth.in_words(), worth.in_words(more)] if worth else [number(None), number(None)]
        rows.append(Row([name, number(measure.mean(name)), *found]))
    return rows


@without_mathtext
def learning_curves(conditions: Sequence[str], measures: Mapping[int, Measure]) -> Figure:
    """Draw each condition over the number of labelled images: the mean over seeds with Student's 95 % confidence band.

    Args:
        conditions: Names to draw.
        measures: Measure of all conditions, by the number of labelled images that they were trained with.
    """
    figure = Figure(figsize=(6.4, 4.0))
    figure.set_layout_engine('constrained')
    axes = figure.add_subplot()
    for place, name in enumerate(conditions):
        values = {labels: list(measures[labels].values.get(name, {}).values()) for labels in sorted(measures)}
        points = [labels for labels in values if values[labels]]
        bands = [band for labels in points if (band := t_interval(values[labels]))]
        if bands and len(bands) == len(points):
            low, high = zip(*bands)
            axes.fill_between(points, low, high, color=colour(place), alpha=0.15, linewidth=0)
        means = [np.mean(values[labels]) for labels in points]
        label = legend_label(name)
        axes.plot(points, means, color=colour(place), marker='o', markersize=3, linewidth=1.4, label=label)
    axes.set_xscale('log')
    axes.set_xticks(sorted(measures), [str(labels) for labels in sorted(measures)])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel('labelled images')
    axes.set_ylabel(next(iter(measures.values())).label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _interpolate(counts: Sequence[int], curves: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the numbers of images at which curves, (C, B), have values, (B,), within the counts, (C,)."""
    curves, logarithms = np.maximum.accumulate(curves), np.log(counts)
    left = np.clip((curves < values).sum(axis=0) - 1, 0, len(counts) - 2)
    low, high = (np.take_along_axis(curves, place[None], axis=0)[0] for place in (left, left + 1))
    with np.errstate(divide='ignore', invalid='ignore'):
        share = np.where(high > low, np.clip((values - low) / (high - low), 0, 1), values > low)
    return np.exp(logarithms[left] + share * (logarithms[left + 1] - logarithms[left]))

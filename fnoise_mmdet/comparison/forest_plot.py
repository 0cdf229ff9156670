"""Forest plot of a comparison: the difference of each condition in each measure, with its confidence interval."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..visualization.colours import OKABE_ITO
from ..visualization.markup import without_mathtext
from .compare import EQUIVALENT, HARMS, HELPS, Difference
from .measures import HIGHER, Measure

COLUMNS = 4
COLOURS = {HELPS: OKABE_ITO['blue'], HARMS: OKABE_ITO['vermilion'], EQUIVALENT: OKABE_ITO['green']}
UNDECIDED = '0.45'


@without_mathtext
def forest_plot(conditions: Sequence[str], measures: Sequence[Measure], differences: Sequence[Difference]) -> Figure:
    """Draw one panel per measure, with one row per condition.

    A row has the difference to the reference with Student's 95 % confidence
    interval over the seeds, and each seed by itself. Blue helps, vermilion
    harms, green is equivalent, grey inconclusive or without a preferred
    direction. An arrow points in the preferred direction, a band shows the margin of
    equivalence.

    Args:
        conditions: Names, the reference first.
        measures: Measures to draw; those without a difference are omitted.
        differences: Differences of any measures and conditions.
    """
    reference, *names = conditions
    of_measure = {
        measure.key: [one for one in differences if one.measure.key == measure.key and one.condition in names]
        for measure in measures
    }
    measures = [measure for measure in measures if of_measure[measure.key]]
    columns = max(1, min(COLUMNS, len(measures)))
    rows = max(1, -(-len(measures) // columns))
    figure = Figure(figsize=(1.4 + 2.6 * columns, 0.7 + (0.95 + 0.24 * len(names)) * rows))
    figure.set_layout_engine('constrained')
    seeds = len({seed for found in of_measure.values() for one in found for seed in one.by_seed})
    figure.suptitle(
        f'Difference to {reference}: mean and 95 % confidence interval over {seeds} seed{"s" * (seeds != 1)}',
        fontsize=10,
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, measure in zip(grid, measures):
        _draw(axes, names, measure, of_measure[measure.key])
    for axes in grid[len(measures) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, names: Sequence[str], measure: Measure, differences: Sequence[Difference]) -> None:
    axes.axvline(0, color='black', linewidth=0.8)
    for one in differences:
        place = names.index(one.condition)
        shade = COLOURS.get(one.conclusion, UNDECIDED)
        if one.seeds:
            axes.plot(one.seeds, (place, place), color=shade, linewidth=2, solid_capstyle='butt')
        values = list(one.by_seed.values())
        axes.plot(values, np.full(len(values), place), '|', color='black', alpha=0.5, markersize=6, zorder=3)
        axes.plot(one.mean, place, 'o', color=shade, markersize=5)
    if measure.margin:
        axes.axvspan(-measure.margin, measure.margin, color=COLOURS[EQUIVALENT], alpha=0.12, linewidth=0)
    if measure.better:
        is_right = measure.better == HIGHER
        text = 'better →' if is_right else '← better'
        axes.set_xlabel(text, loc='right' if is_right else 'left', fontsize=7, labelpad=1)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(measure.label, fontsize=9)
    axes.tick_params(axis='x', labelsize=8)
    axes.locator_params(axis='x', nbins=4)
    axes.grid(axis='x', alpha=0.3)

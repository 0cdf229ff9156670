"""Forest plot of a comparison: the difference of each condition in each measure, with its confidence interval."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..visualization.colours import OKABE_ITO
from ..visualization.markup import without_mathtext
from .compare import BETTER, WORSE
from .measures import Measure
from .saved_comparison import SavedComparison

COLUMNS = 4
COLOURS = {BETTER: OKABE_ITO['blue'], WORSE: OKABE_ITO['vermilion'], '': '0.45'}


@without_mathtext
def plot_study(study: SavedComparison) -> Figure:
    """Draw a study as a forest plot: one panel per measure, one row per condition.

    A row has the difference to the reference with Student's 95 % confidence
    interval over the seeds, and each seed by itself. Blue is better, vermilion
    worse, grey not significant or without a preferred direction.
    """
    reference, *names = study.conditions
    measures = [measure for measure in study.measures if study.differences_in(measure)]
    columns = max(1, min(COLUMNS, len(measures)))
    rows = max(1, -(-len(measures) // columns))
    figure = Figure(figsize=(1.4 + 2.6 * columns, 0.7 + (0.8 + 0.24 * len(names)) * rows))
    figure.set_layout_engine('constrained')
    seeds = len(study.seeds())
    figure.suptitle(
        f'Difference to {reference}: mean and 95 % confidence interval over {seeds} seed{"s" * (seeds != 1)}',
        fontsize=10,
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, measure in zip(grid, measures):
        _draw(axes, study, measure)
    for axes in grid[len(measures) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, study: SavedComparison, measure: Measure) -> None:
    names = study.conditions[1:]
    axes.axvline(0, color='black', linewidth=0.8)
    for name, one in study.differences_in(measure).items():
        place = names.index(name)
        shade = COLOURS[one.direction]
        if one.seeds:
            axes.plot(one.seeds, (place, place), color=shade, linewidth=2, solid_capstyle='butt')
        values = list(one.by_seed.values())
        axes.plot(values, np.full(len(values), place), '|', color='black', alpha=0.5, markersize=6, zorder=3)
        axes.plot(one.mean, place, 'o', color=shade, markersize=5)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(measure.label, fontsize=9)
    axes.tick_params(axis='x', labelsize=8)
    axes.locator_params(axis='x', nbins=4)
    axes.grid(axis='x', alpha=0.3)

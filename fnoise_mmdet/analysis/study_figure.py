"""What a comparison has found, as a picture: the difference of each condition in each measure, with its interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..colours import OKABE_ITO
from .intervals import Interval
from .measures import HIGHER
from .study_table import KeptStudy

COLUMNS = 4
BETTER, WORSE, NOT_TOLD = OKABE_ITO['blue'], OKABE_ITO['vermilion'], '0.45'


def plot_study(study: KeptStudy) -> Figure:
    """Draw a study as a forest plot: axes a measure, a row a condition.

    A row has the difference to the reference, with Student's 95 % interval
    over the seeds, and each seed by itself. Blue is better, vermilion worse,
    grey where the interval holds 0 or where neither side is better.
    """
    measures = [measure for measure in study.measures if study.differences(measure)]
    columns = max(1, min(COLUMNS, len(measures)))
    rows = max(1, -(-len(measures) // columns))
    figure = Figure(figsize=(1.4 + 2.6 * columns, 0.7 + (0.8 + 0.24 * len(study.conditions)) * rows))
    figure.set_layout_engine('constrained')
    seeds = study.seeds()
    figure.suptitle(
        f'Difference to {study.reference}: mean and 95 % interval over {seeds} seed{"s" * (seeds != 1)}', fontsize=10
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, measure in zip(grid, measures):
        _draw(axes, study, measure)
    for axes in grid[len(measures) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, study: KeptStudy, measure: Mapping[str, Any]) -> None:
    axes.axvline(0, color='black', linewidth=0.8)
    for name, one in study.differences(measure).items():
        place = study.conditions.index(name)
        interval = Interval(*one['interval_seeds_t']) if one['interval_seeds_t'] else None
        shade = _colour(one['mean'], interval, measure['better'])
        if interval:
            axes.plot(interval, (place, place), color=shade, linewidth=2, solid_capstyle='butt')
        values = list(one['by_seed'].values())
        axes.plot(values, np.full(len(values), place), '|', color='black', alpha=0.5, markersize=6, zorder=3)
        axes.plot(one['mean'], place, 'o', color=shade, markersize=5)
    axes.set_yticks(range(len(study.conditions)), study.conditions, fontsize=8)
    axes.set_ylim(len(study.conditions) - 0.5, -0.5)
    axes.set_title(measure['label'], fontsize=9)
    axes.tick_params(axis='x', labelsize=8)
    axes.locator_params(axis='x', nbins=4)
    axes.grid(axis='x', alpha=0.3)


def _colour(mean: float, interval: Interval | None, better: str) -> str:
    if interval is None or not interval.excludes_zero() or not better:
        return NOT_TOLD
    return BETTER if (mean > 0) == (better == HIGHER) else WORSE

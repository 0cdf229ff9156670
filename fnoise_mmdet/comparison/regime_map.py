"""Map of several studies: the conclusion about each condition in each regime."""

from collections.abc import Mapping

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..visualization.markup import without_mathtext
from .compare import most_pairs
from .forest_plot import COLOURS, UNDECIDED
from .saved_comparison import SavedComparison


@without_mathtext
def regime_map(studies: Mapping[str, SavedComparison]) -> Figure:
    """Draw one row per regime and measure and one column per condition, coloured by the conclusion.

    A cell has the difference to the regime's reference, with Student's 95 %
    confidence interval over seeds. The colours are those of
    :func:`~.forest_plot.forest_plot`; conditions that were not trained in a
    regime are left white, and a cell of fewer pairs than the row has says so.

    Args:
        studies: Saved comparison of each regime with the measures to show, in the order of the rows.
    """
    rows = [(regime, *found) for regime, study in studies.items() for found in study.by_measure()]
    names = list(dict.fromkeys(name for study in studies.values() for name in study.conditions[1:]))
    figure = Figure(figsize=(max(4.8, 2.2 + 1.2 * len(names)), 1.0 + 0.42 * len(rows)))
    figure.set_layout_engine('constrained')
    axes = figure.add_subplot()
    titles = []
    for row, (regime, measure, differences) in enumerate(rows):
        pairs = most_pairs(differences)
        titles.append(f'{regime}\n{measure.label}, n = {pairs}')
        for one in differences:
            column = names.index(one.condition)
            colour = to_rgba(COLOURS.get(one.conclusion, UNDECIDED), 0.35)
            axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=colour, label=one.conclusion))
            fewer = f' (n = {len(one.by_seed)})' if len(one.by_seed) < pairs else ''
            interval = one.seeds.in_words(measure.decimals) if one.seeds else 'one pair'
            axes.text(column, row, f'{one.in_words()}{fewer}\n{interval}', ha='center', va='center', fontsize=7)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), titles, fontsize=8)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles = [Rectangle((0, 0), 1, 1, facecolor=to_rgba(colour, 0.35)) for colour in (*COLOURS.values(), UNDECIDED)]
    figure.legend(handles, [*COLOURS, 'inconclusive'], loc='outside lower center', ncols=4, fontsize=8, frameon=False)
    return figure

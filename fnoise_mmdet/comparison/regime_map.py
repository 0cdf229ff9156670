"""Map of several studies: the conclusion about each condition in each regime."""

from collections.abc import Mapping

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..visualization.markup import without_mathtext
from .forest_plot import COLOURS, UNDECIDED
from .saved_comparison import SavedComparison


@without_mathtext
def regime_map(studies: Mapping[str, SavedComparison]) -> Figure:
    """Draw one column per regime and one row per condition, coloured by the conclusion in the regime's first measure.

    A cell has the difference to the regime's reference, with Student's 95 %
    confidence interval over seeds. The colours are those of
    :func:`~.forest_plot.forest_plot`; conditions that were not trained in a
    regime are left white, and a cell of fewer seeds than the regime has says so.

    Args:
        studies: Saved comparison of each regime, in the order of the columns.
    """
    names = list(dict.fromkeys(name for study in studies.values() for name in study.conditions[1:]))
    figure = Figure(figsize=(max(4.8, 1.8 + 1.6 * len(studies)), 1.0 + 0.42 * len(names)))
    figure.set_layout_engine('constrained')
    axes = figure.add_subplot()
    for column, study in enumerate(studies.values()):
        for one in study.of_first_measure():
            row = names.index(one.condition)
            colour = to_rgba(COLOURS.get(one.conclusion, UNDECIDED), 0.35)
            axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=colour, label=one.conclusion))
            interval = one.seeds.in_words(one.measure.decimals) if one.seeds else 'one pair'
            if one.seeds and len(one.by_seed) < len(study.seeds()):
                interval += f', n = {len(one.by_seed)}'
            axes.text(column, row, f'{one.in_words()}\n{interval}', ha='center', va='center', fontsize=7)
    axes.set_xticks(range(len(studies)), [_title(regime, study) for regime, study in studies.items()], fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlim(-0.5, len(studies) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles = [Rectangle((0, 0), 1, 1, facecolor=to_rgba(colour, 0.35)) for colour in (*COLOURS.values(), UNDECIDED)]
    figure.legend(handles, [*COLOURS, 'inconclusive'], loc='outside lower center', ncols=4, fontsize=8, frameon=False)
    return figure


def _title(regime: str, study: SavedComparison) -> str:
    return f'{regime}\n{study.measures[0].label}, n = {len(study.seeds())}'

"""Charts drawn with matplotlib."""

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..visualization.colours import OKABE_ITO
from ..visualization.markup import legend_label, without_mathtext
from .charts import ChartGroup

# Those with most contrast to white first; yellow is omitted.
COLOURS = (
    *(OKABE_ITO[name] for name in ('blue', 'vermilion', 'green', 'purple', 'orange', 'sky blue')),
    'black',
)
COLUMNS = 4


def colour(place: int) -> str:
    """Return the colour of the condition with an index."""
    return COLOURS[place % len(COLOURS)]


@without_mathtext
def plot_charts(group: ChartGroup) -> Figure:
    """Draw charts in rows of a page's width; charts of the same quantity share their y axis."""
    rows = [row[start : start + COLUMNS] for row in group.rows for start in range(0, len(row), COLUMNS)]
    columns = max(map(len, rows))
    figure = Figure(figsize=(4.4 * columns, 2.7 * len(rows) + 0.6))
    figure.suptitle(group.title)
    grid = figure.add_gridspec(len(rows), columns)
    for row, charts in enumerate(rows):
        first = None
        same = len({chart.y_label for chart in charts}) == 1
        for column, chart in enumerate(charts):
            place = grid[row, :] if chart.is_difference else grid[row, column]
            axes = figure.add_subplot(place, sharey=first if same else None)
            if chart.is_difference:
                axes.axhline(0, color='grey', linewidth=0.8)
            first = first or axes
            for line in chart.lines:
                shade = colour(line.colour)
                if line.low != line.high:
                    axes.fill_between(line.x, line.low, line.high, color=shade, alpha=0.18, linewidth=0)
                marker = 'o' if len(line.x) < 15 else None
                label = legend_label(line.label)
                axes.plot(line.x, line.mean, color=shade, linewidth=1.4, marker=marker, markersize=3, label=label)
            axes.set_title(chart.title, fontsize=9)
            axes.set_xlabel(chart.x_label, fontsize=8)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=7)
    # Once: a figure with an engine is laid out by every savefig, which takes longer than drawing.
    ConstrainedLayoutEngine().execute(figure)
    return figure

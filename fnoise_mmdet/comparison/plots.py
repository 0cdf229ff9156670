"""Charts drawn with matplotlib."""

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from ..visualization.colours import OKABE_ITO
from ..visualization.markup import legend_label, without_mathtext
from .charts import ChartGroup

# Those with most contrast to white first; yellow is omitted.
COLOURS = (
    *(OKABE_ITO[name] for name in ('blue', 'vermilion', 'green', 'purple', 'orange', 'sky blue')),
    'black',
)
COLUMNS = 4
# Inches.
CHART = 3.65, 1.95  # width, height of the axes
GAP = 0.75, 0.75  # between axes, for tick labels, title and label of the x axis
MARGINS = dict(left=0.65, right=0.1, bottom=0.55, top=0.75)


def colour(place: int) -> str:
    """Return the colour of the condition with an index."""
    return COLOURS[place % len(COLOURS)]


@without_mathtext
def plot_charts(group: ChartGroup) -> Figure:
    """Draw charts in rows of a page's width; charts of the same quantity share their y axis."""
    rows = [row[start : start + COLUMNS] for row in group.rows for start in range(0, len(row), COLUMNS)]
    columns = max(map(len, rows))
    figure, grid = _grid(len(rows), columns)
    figure.suptitle(group.title, y=1 - 0.15 / figure.get_figheight(), va='top')
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
                marker = 'o' if len(line.x) < 20 else None
                label = legend_label(line.label)
                axes.plot(line.x, line.mean, color=shade, linewidth=1.4, marker=marker, markersize=3, label=label)
            low, high = axes.get_ylim()
            if high - low < chart.span:
                middle = (low + high) / 2
                axes.set_ylim(middle - chart.span / 2, middle + chart.span / 2)
            axes.set_title(chart.title, fontsize=9)
            axes.set_xlabel(chart.x_label, fontsize=8)
            axes.tick_params(labelsize=8)
            axes.ticklabel_format(axis='y', scilimits=(-3, 4))  # keeps the labels narrow
            axes.yaxis.offsetText.set_fontsize(7)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=7)
    return figure


def _grid(rows: int, columns: int) -> tuple[Figure, GridSpec]:
    """Return a figure and its grid of charts, laid out in inches: an engine that measures texts would take longer."""
    width = MARGINS['left'] + columns * CHART[0] + (columns - 1) * GAP[0] + MARGINS['right']
    height = MARGINS['bottom'] + rows * CHART[1] + (rows - 1) * GAP[1] + MARGINS['top']
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(
        rows,
        columns,
        left=MARGINS['left'] / width,
        right=1 - MARGINS['right'] / width,
        bottom=MARGINS['bottom'] / height,
        top=1 - MARGINS['top'] / height,
        wspace=GAP[0] / CHART[0],
        hspace=GAP[1] / CHART[1],
    )
    return figure, grid

"""Curves of two runs."""

from matplotlib.figure import Figure

from .runs import Run

COLOURS = ('tab:blue', 'tab:orange')


def plot_losses(a: Run, b: Run) -> Figure:
    """Draw total and component losses: first run, second run, both overlaid; a row a loss.

    All pictures of a row share their axes, so that heights can be compared.
    """
    losses = [loss for loss in a.losses() if loss in b.losses()]
    figure = Figure(figsize=(13, 2.6 * len(losses) + 0.4), layout='constrained')
    grid = figure.subplots(len(losses), 3, sharex='all', sharey='row', squeeze=False)
    for axes_of_row, loss in zip(grid, losses):
        for axes, runs in zip(axes_of_row, [(a,), (b,), (a, b)]):
            for run in runs:
                rows = [row for row in run.train if loss in row]
                axes.plot(
                    [row['step'] for row in rows],
                    [row[loss] for row in rows],
                    color=COLOURS[run is b],
                    alpha=0.8,
                    linewidth=1.2,
                    label=run.name,
                )
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
            axes.tick_params(labelleft=True)
        axes_of_row[0].set_ylabel(loss)
    for axes, title in zip(grid[0], (a.name, b.name, 'overlaid')):
        axes.set_title(title)
    for axes in grid[-1]:
        axes.set_xlabel('iteration')
    return figure

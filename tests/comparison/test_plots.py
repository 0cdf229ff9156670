import numpy as np
from matplotlib.colors import same_color

from fnoise_mmdet.comparison import Condition, chart_groups, colour, plot_charts


def test_curves_bands_and_axes(make_run):
    pair = [Condition('a', [make_run('a/0'), make_run('a/1', 1.0)], []), Condition('b', [make_run('b')], [])]
    figure = plot_charts(chart_groups(pair)[0])
    alone, other, both = figure.axes[:3]
    assert [axes.get_title() for axes in (alone, other, both)] == ['loss: a', 'loss: b', 'loss: overlaid']
    assert all(same_color(line.get_color(), colour(place)) for place, line in enumerate(both.lines))
    np.testing.assert_allclose(alone.lines[0].get_ydata(), [9.5, 8.5, 7.5, 6.5, 5.5, 4.5])
    assert len(alone.collections) == 1 and len(other.collections) == 0, 'a band where there are several seeds'
    assert alone.get_ylim() == other.get_ylim() == both.get_ylim()


def test_long_rows_are_wrapped(make_run):
    extra = tuple(f'snr_db_{level}' for level in range(5))
    groups = {group.key: group for group in chart_groups([Condition('a', [make_run('a', extra=extra)], [])])}
    figure = plot_charts(groups['training'])
    assert len(figure.axes) == 5 and len({round(axes.get_position().y0, 2) for axes in figure.axes}) == 2

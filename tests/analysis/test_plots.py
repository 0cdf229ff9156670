import numpy as np

from fnoise_mmdet.analysis import Run, plot_losses


def make_run(name, offset):
    return Run(name, [dict(loss=step + offset, loss_cls=1.0, step=step) for step in range(1, 6)], [], [])


def test_a_row_a_loss_and_both_runs_overlaid_on_shared_axes():
    figure = plot_losses(make_run('a', 0), make_run('b', 10))
    axes = np.array(figure.axes).reshape(2, 3)
    assert [one.get_ylabel() for one in axes[:, 0]] == ['loss', 'loss_cls']
    assert [one.get_title() for one in axes[0]] == ['a', 'b', 'overlaid']
    a, b, both = axes[0]
    np.testing.assert_array_equal(a.lines[0].get_ydata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(b.lines[0].get_ydata(), [11, 12, 13, 14, 15])
    assert [line.get_label() for line in both.lines] == ['a', 'b']
    assert a.get_ylim() == b.get_ylim() == both.get_ylim()
    assert a.lines[0].get_color() == both.lines[0].get_color() != both.lines[1].get_color()

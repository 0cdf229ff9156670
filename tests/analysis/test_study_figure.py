import numpy as np
import pytest
from matplotlib.colors import same_color

from fnoise_mmdet.analysis.study_figure import BETTER, NOT_TOLD, WORSE, plot_study
from fnoise_mmdet.analysis.study_table import KeptStudy


def measure(key, better, **by_condition):
    return dict(
        key=key,
        label=key,
        better=better,
        values={},
        differences=[
            dict(condition=name, mean=np.mean(seeds), by_seed=dict(enumerate(seeds)), interval_seeds_t=interval)
            for name, (seeds, interval) in by_condition.items()
        ],
    )  # fmt: skip


@pytest.fixture
def study():
    up, down, unclear = ([0.1, 0.3], [0.05, 0.35]), ([-0.2], [-0.3, -0.1]), ([0.1], None)
    measures = [
        measure('AP', 'higher', weak=up, strong=down),
        measure('val_loss', 'lower', weak=up, strong=unclear),
        measure('loss', '', strong=down),
        measure('rPC', 'higher'),
    ]
    return KeptStudy('plain', ['weak', 'strong'], measures)


def dots(axes):
    return {(line.get_xdata().item(), line.get_ydata().item()): line for line in axes.lines if line.get_marker() == 'o'}


def test_a_dot_an_interval_and_the_seeds_for_each_difference(study):
    ap, val_loss, loss = plot_study(study).axes  # nothing is drawn of what has no difference
    assert [axes.get_title() for axes in (ap, val_loss, loss)] == ['AP', 'val_loss', 'loss']
    assert [label.get_text() for label in ap.get_yticklabels()] == ['weak', 'strong']
    assert ap.get_ylim()[0] > ap.get_ylim()[1], 'the first one is on top'
    zero, interval, seeds, *_ = ap.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(interval.get_xdata()) == [0.05, 0.35] and list(interval.get_ydata()) == [0, 0]
    assert list(seeds.get_xdata()) == [0.1, 0.3]
    assert {place: round(x, 3) for x, place in dots(ap)} == {0: 0.2, 1: -0.2}
    assert [place for _, place in dots(loss)] == [1]


def test_colour_is_what_the_interval_tells(study):
    ap, val_loss, loss = ({place: line.get_color() for (_, place), line in dots(axes).items()}
                          for axes in plot_study(study).axes)  # fmt: skip
    assert same_color(ap[0], BETTER) and same_color(ap[1], WORSE)
    assert same_color(val_loss[0], WORSE) and same_color(val_loss[1], NOT_TOLD)
    assert same_color(loss[1], NOT_TOLD)


def test_nothing_to_compare_is_an_empty_figure():
    assert not plot_study(KeptStudy('plain', [], [measure('AP', 'higher')])).axes[0].get_visible()

import pytest
from matplotlib.colors import same_color

from fnoise_mmdet.comparison.compare import Difference
from fnoise_mmdet.comparison.forest_plot import COLOURS, UNDECIDED, forest_plot
from fnoise_mmdet.comparison.intervals import Interval
from fnoise_mmdet.comparison.measures import Measure
from fnoise_mmdet.comparison.saved_comparison import SavedComparison

UP, DOWN, UNCLEAR = ([0.1, 0.3], Interval(0.05, 0.35)), ([-0.2, -0.2], Interval(-0.3, -0.1)), ([0.1], None)


@pytest.fixture
def study():
    sides = {'AP': 'higher', 'val_loss': 'lower', 'loss': '', 'rPC': 'higher'}
    values = dict(plain={0: 0.5})
    measures = {key: Measure(key, key, better, values) for key, better in sides.items()}
    found = [('AP', 'weak', UP), ('AP', 'strong', DOWN), ('val_loss', 'weak', UP), ('val_loss', 'strong', UNCLEAR),
             ('loss', 'strong', DOWN)]  # fmt: skip
    differences = [
        Difference(measures[key], name, 'plain', dict(enumerate(seeds)), interval, None)
        for key, name, (seeds, interval) in found
    ]
    return SavedComparison(['plain', 'weak', 'strong'], list(measures.values()), differences, {}, [])


def plot(study):
    return forest_plot(study.conditions, study.measures, study.differences)


def dots(axes):
    return {(line.get_xdata().item(), line.get_ydata().item()): line for line in axes.lines if line.get_marker() == 'o'}


def test_a_dot_an_interval_and_the_seeds_for_each_difference(study):
    ap, val_loss, loss = plot(study).axes  # nothing is drawn of what has no difference
    assert [axes.get_title() for axes in (ap, val_loss, loss)] == ['AP', 'val_loss', 'loss']
    assert [label.get_text() for label in ap.get_yticklabels()] == ['weak', 'strong']
    assert ap.get_ylim()[0] > ap.get_ylim()[1], 'the first one is on top'
    zero, interval, seeds, *_ = ap.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(interval.get_xdata()) == [0.05, 0.35] and list(interval.get_ydata()) == [0, 0]
    assert list(seeds.get_xdata()) == [0.1, 0.3]
    assert {place: round(x, 3) for x, place in dots(ap)} == {0: 0.2, 1: -0.2}
    assert [place for _, place in dots(loss)] == [1]


def test_colour_shows_the_conclusion(study):
    ap, val_loss, loss = ({place: line.get_color() for (_, place), line in dots(axes).items()}
                          for axes in plot(study).axes)  # fmt: skip
    assert same_color(ap[0], COLOURS['helps']) and same_color(ap[1], COLOURS['harms'])
    assert same_color(val_loss[0], COLOURS['harms']) and same_color(val_loss[1], UNDECIDED)
    assert same_color(loss[1], UNDECIDED)


def test_equivalence_is_green_within_its_band(study):
    ap = study.measures[0]
    same = Difference(ap, 'weak', 'plain', {0: 0.001, 1: 0.002, 2: 0.0}, Interval(-0.001, 0.003), None)
    axes = forest_plot(['plain', 'weak'], [ap], [same]).axes[0]
    assert same_color(dots(axes)[0.001, 0].get_color(), COLOURS['equivalent'])
    band = axes.patches[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == (-0.01, 0.01)


def test_an_arrow_points_to_the_better_side(study):
    ap, val_loss, loss = plot(study).axes
    assert (ap.get_xlabel(), val_loss.get_xlabel(), loss.get_xlabel()) == ('better →', '← better', '')


def test_nothing_to_compare_is_an_empty_figure():
    assert not forest_plot(['plain'], [Measure('AP', 'AP', 'higher', {})], []).axes[0].get_visible()

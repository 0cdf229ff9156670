from matplotlib.colors import same_color, to_rgba
from matplotlib.patches import Rectangle

from fnoise_mmdet.comparison.compare import paired_difference
from fnoise_mmdet.comparison.forest_plot import COLOURS, UNDECIDED
from fnoise_mmdet.comparison.measures import Measure
from fnoise_mmdet.comparison.regime_map import regime_map
from fnoise_mmdet.comparison.saved_comparison import SavedComparison

PLAIN = {seed: 0.3 + 0.01 * seed for seed in range(4)}


def study(**gains):
    """Four seeds of a plain condition and others, which gain as much in each seed, and in another measure nothing."""
    others = {
        name: {seed: PLAIN[seed] + gain for seed, gain in enumerate(of_seeds)} for name, of_seeds in gains.items()
    }
    alike = {name: {seed: PLAIN[seed] for seed in of_seeds} for name, of_seeds in others.items()}
    measures = [
        Measure('coco/segm_mAP', 'mask AP', 'higher', dict(plain=PLAIN, **others)),
        Measure('coco/bbox_mAP', 'box AP', 'higher', dict(plain=PLAIN, **alike)),
    ]
    differences = [paired_difference(measure, 'plain', name) for measure in measures for name in gains]
    return SavedComparison(['plain', *gains], measures, differences, {}, [])


def cells(axes):
    """Return the colours of the cells by row and column."""
    return {
        (round(patch.get_y() + 0.46), round(patch.get_x() + 0.48)): patch.get_facecolor()
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    }


def test_a_cell_has_the_conclusion_of_its_condition_in_a_regime_and_measure():
    few = study(weak=[0.1, 0.11, 0.1, 0.09], strong=[-0.1, -0.11, -0.1, -0.09])
    many = study(weak=[0.001, 0.0, -0.001, 0.0], other=[0.1, -0.1, 0.2, -0.2]).showing(measures=['coco/segm_mAP'])
    (axes,) = regime_map(dict(few=few, many=many)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ['weak', 'strong', 'other']
    titles = ['few\nmask AP, n = 4', 'few\nbox AP, n = 4', 'many\nmask AP, n = 4']
    assert [label.get_text() for label in axes.get_yticklabels()] == titles
    helps, harms, equivalent = (COLOURS[conclusion] for conclusion in ('helps', 'harms', 'equivalent'))
    expected = {
        (0, 0): helps, (0, 1): harms, (1, 0): equivalent, (1, 1): equivalent, (2, 0): equivalent, (2, 2): UNDECIDED
    }  # fmt: skip
    found = cells(axes)
    assert found.keys() == expected.keys(), 'no cell of what was not trained'
    assert all(same_color(found[place], to_rgba(colour, 0.35)) for place, colour in expected.items())
    texts = {(row, column): text.get_text() for text in axes.texts for column, row in [text.get_position()]}
    assert texts[0, 0] == '+0.100\n+0.087 to +0.113' and texts[2, 0].startswith('+0.000\n−0.001')


def test_a_cell_of_fewer_pairs_says_so():
    (axes,) = regime_map(dict(few=study(weak=[0.1, 0.11], other=[0.1, 0.1, 0.2, 0.2]))).axes
    weak, other, *_ = (text.get_text() for text in axes.texts)
    assert weak.startswith('+0.105 (n = 2)\n') and 'n =' not in other

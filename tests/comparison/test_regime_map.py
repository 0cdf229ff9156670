from matplotlib.colors import same_color, to_rgba
from matplotlib.patches import Rectangle

from fnoise_mmdet.comparison.compare import paired_difference
from fnoise_mmdet.comparison.forest_plot import COLOURS, UNDECIDED
from fnoise_mmdet.comparison.measures import Measure
from fnoise_mmdet.comparison.regime_map import regime_map
from fnoise_mmdet.comparison.saved_comparison import SavedComparison

PLAIN = {seed: 0.3 + 0.01 * seed for seed in range(4)}


def study(**gains):
    """Four seeds of a plain condition and others, which gain as much in each seed."""
    others = {
        name: {seed: PLAIN[seed] + gain for seed, gain in enumerate(of_seeds)} for name, of_seeds in gains.items()
    }
    ap = Measure('coco/segm_mAP', 'mask AP', 'higher', dict(plain=PLAIN, **others))
    return SavedComparison(['plain', *gains], [ap], [paired_difference(ap, 'plain', name) for name in gains], {}, [])


def test_a_cell_has_the_conclusion_of_its_condition_and_regime():
    few = study(weak=[0.1, 0.11, 0.1, 0.09], strong=[-0.1, -0.11, -0.1, -0.09])
    many = study(weak=[0.001, 0.0, -0.001, 0.0], other=[0.1, -0.1, 0.2, -0.2])
    (axes,) = regime_map(dict(few=few, many=many)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ['weak', 'strong', 'other']
    assert [label.get_text() for label in axes.get_xticklabels()] == ['few\nmask AP, n = 4', 'many\nmask AP, n = 4']
    cells = {
        (round(patch.get_x() + 0.48), round(patch.get_y() + 0.46)): patch.get_facecolor()
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    }
    expected = {(0, 0): COLOURS['helps'], (0, 1): COLOURS['harms'], (1, 0): COLOURS['equivalent'], (1, 2): UNDECIDED}
    assert cells.keys() == expected.keys(), 'no cell of what was not trained'
    assert all(same_color(cells[place], to_rgba(colour, 0.35)) for place, colour in expected.items())
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[0, 0] == '+0.100\n+0.087 to +0.113' and texts[1, 0].startswith('+0.000\n−0.001')


def test_a_cell_of_fewer_pairs_says_so():
    studies = dict(few=study(weak=[0.1, 0.11], other=[0.1, 0.1, 0.2, 0.2]))
    (axes,) = regime_map(studies).axes
    weak, other = (text.get_text() for text in axes.texts)
    assert weak.endswith(', n = 2') and 'n =' not in other

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fnoise_mmdet.visualization.markup import escape_markdown, legend_label, replace_undecodable, without_mathtext


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('cct_0.3', 'cct_0.3'),
        ('a|b', r'a\|b'),
        ('_a_ *b* `c` [d](e) <f> $g$', r'\_a\_ \*b\* \`c\` \[d\](e) \<f\> \$g\$'),
        ('two\nlines', 'two lines'),
        ('back\\slash', r'back\\slash'),
    ],
)
def test_markdown_shows_names_as_they_are(name, shown):
    assert escape_markdown(name) == shown


def test_bytes_of_other_encodings_become_printable():
    assert replace_undecodable('gr\udcfcn') == 'gr�n' and replace_undecodable('grün') == 'grün'


@pytest.mark.parametrize('name', ['$', 'a $x_1 b$', r'$\frac{1}$', '_hidden', '\\'])
def test_matplotlib_draws_names_as_they_are(name):
    @without_mathtext
    def draw():
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot([0], [0], label=legend_label(name))
        legend = axes.legend()
        FigureCanvasAgg(figure).draw()  # the canvas of a figure without one draws nothing
        return legend

    assert [text.get_text().strip() for text in draw().get_texts()] == [name]

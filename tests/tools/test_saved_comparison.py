import pytest

STUDY = 'docs/study/embedded/seeds_0_1_2.json'


@pytest.mark.parametrize('mark', ['study', 'other'])
def test_prints_the_table_or_puts_it_into_a_page(tool, tmp_path, mark):
    page = tmp_path / 'page.md'
    page.write_text(f'before\n<!-- {mark} -->\nold\n<!-- {mark} -->\nafter\n')
    text = tool('compare', STUDY, '--measures', 'loss').stdout
    tool('compare', STUDY, '--measures', 'loss', '--into', page, '--mark', mark)
    table = text[text.index('|  | mean') :].strip()
    assert page.read_text() == f'before\n<!-- {mark} -->\n{table}\n<!-- {mark} -->\nafter\n'


@pytest.mark.parametrize(('suffix', 'begins'), [('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')])
def test_draws_the_figure(tool, tmp_path, suffix, begins):
    file = tmp_path / 'new' / f'figure.{suffix}'
    tool('compare', STUDY, '--figure', file)
    assert file.read_bytes().startswith(begins)


def test_wrong_input_is_one_line(tool, tmp_path):
    assert 'is not the comparison.json' in tool('compare', tmp_path / 'no.json', status=2).stderr
    assert 'is not a file with two lines' in tool('compare', STUDY, '--into', tmp_path / 'no.md', status=2).stderr
    page = tmp_path / 'page.md'
    page.write_text('<!-- study -->\n<!-- study -->\n')
    result = tool('compare', STUDY, '--into', page, '--figure', tmp_path / 'figure.bmp', status=2)
    assert 'its name must end in .png, .svg, .pdf' in result.stderr
    assert '--out is required to compare runs' in tool('compare', tmp_path, status=2).stderr
    assert (
        'show a comparison.json, without --out'
        in tool('compare', tmp_path, '--out', tmp_path / 'out', '--into', page, status=2).stderr
    )
    assert page.read_text() == '<!-- study -->\n<!-- study -->\n'

import pytest

STUDY = 'docs/study/embedded/seeds_0_1_2.json'


@pytest.mark.parametrize('mark', ['study', 'other'])
def test_prints_the_table_or_puts_it_into_a_page(tool, tmp_path, mark):
    page = tmp_path / 'page.md'
    page.write_text(f'before\n<!-- {mark} -->\nold\n<!-- {mark} -->\nafter\n')
    text = tool('show_study', STUDY, '--measures', 'loss').stdout
    tool('show_study', STUDY, '--measures', 'loss', '--into', page, '--mark', mark)
    table = text[text.index('|  | mean') :].strip()
    assert page.read_text() == f'before\n<!-- {mark} -->\n{table}\n<!-- {mark} -->\nafter\n'


@pytest.mark.parametrize(('suffix', 'begins'), [('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')])
def test_draws_the_figure(tool, tmp_path, suffix, begins):
    file = tmp_path / 'new' / f'figure.{suffix}'
    tool('show_study', STUDY, '--figure', file)
    assert file.read_bytes().startswith(begins)


def test_wrong_input_is_one_line(tool, tmp_path):
    assert 'is not the comparison.json' in tool('show_study', tmp_path / 'no.json', status=2).stderr
    assert 'is not a file with two lines' in tool('show_study', STUDY, '--into', tmp_path / 'no.md', status=2).stderr
    page = tmp_path / 'page.md'
    page.write_text('<!-- study -->\n<!-- study -->\n')
    result = tool('show_study', STUDY, '--into', page, '--figure', tmp_path / 'figure.bmp', status=2)
    assert 'its name must end in .png, .svg, .pdf' in result.stderr
    assert page.read_text() == '<!-- study -->\n<!-- study -->\n'

def test_prints_the_table_or_puts_it_into_a_page(tool, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- study -->\nold\n<!-- study -->\nafter\n')
    text = tool('study_table', 'docs/study/demo.json', '--measures', 'loss').stdout
    tool('study_table', 'docs/study/demo.json', '--measures', 'loss', '--into', page)
    table = text[text.index('| | mean') :].strip()
    assert page.read_text() == f'before\n<!-- study -->\n{table}\n<!-- study -->\nafter\n'


def test_wrong_input_is_one_line(tool, tmp_path):
    assert 'is not the comparison.json' in tool('study_table', tmp_path / 'no.json', status=2).stderr
    assert 'is no file with two lines' in tool(
        'study_table', 'docs/study/demo.json', '--into', tmp_path / 'no.md', status=2
    ).stderr  # fmt: skip

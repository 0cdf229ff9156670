import io

from rich.console import Console

from fnoise_mmdet.comparison.table import Row, Section, Table

TABLE = Table(
    ['name', 'a|b', 'said'],
    [
        Section('first [bold]', [Row(['x*', '1', 'yes'], 'better'), Row(['y', '2', ''])]),
        Section('', [Row(['z', '3', '$1'])]),
    ],
    numeric=1,
    emphasized=1,
)


def test_markdown_escapes_names():
    assert TABLE.markdown().splitlines() == [
        r'| name | a\|b | said |',
        '| --- | ---: | --- |',
        r'| **first \[bold\]** |  |  |',
        r'| x\* | **1** | yes |',
        '| y | 2 |  |',
        r'| z | 3 | \$1 |',
    ]


def test_terminal_shows_every_cell():
    console = Console(file=io.StringIO(), width=80, markup=False)
    console.print(TABLE.terminal('title'))
    text = console.file.getvalue()
    for cell in ('title', 'a|b', 'first [bold]', 'x*', 'yes', '$1'):
        assert cell in text


def test_columns_of_a_table_without_sections_hold_numbers():
    table = Table.of(['', 'a', 'b'], [['x', '1', '2']])
    assert [table.is_numeric(column) for column in range(3)] == [False, True, True]
    assert [Table.of(['', 'a'], [], numeric=0).is_numeric(column) for column in range(2)] == [False, False]

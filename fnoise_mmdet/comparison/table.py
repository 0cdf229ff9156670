"""Table of results, rendered as Markdown, in the terminal, and by the report's template as HTML."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import rich.box
import rich.table

from ..visualization.markup import escape_markdown


class Row(NamedTuple):
    """The cells of a row, the first of which is its name.

    ``emphasis`` marks a row whose result is significant: ``helps``, ``harms``
    or ``different``, else empty.
    """

    cells: Sequence[str]
    emphasis: str = ''


class Section(NamedTuple):
    """Rows under a common title, which may be empty."""

    title: str
    rows: Sequence[Row]


class Table(NamedTuple):
    """Sections of rows under common heads.

    ``numeric`` is the number of columns after the first one that hold numbers
    and are aligned to the right; ``emphasized`` is the column that shows the
    emphasis of a row in bold.
    """

    heads: Sequence[str]
    sections: Sequence[Section]
    numeric: int
    emphasized: int | None = None

    @classmethod
    def of(cls, heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: int | None = None) -> 'Table':
        """Return a table without sections; by default all columns after the first one hold numbers."""
        return cls(heads, [Section('', [Row(cells) for cells in rows])], len(heads) - 1 if numeric is None else numeric)

    def is_numeric(self, column: int) -> bool:
        """Return whether a column holds numbers."""
        return 0 < column <= self.numeric

    def markdown(self) -> str:
        """Return the table in Markdown; titles are rows of their own."""
        lines: list[Sequence[str]] = [[escape_markdown(head) for head in self.heads]]
        lines.append(['---:' if self.is_numeric(column) else '---' for column in range(len(self.heads))])
        for section in self.sections:
            if section.title:
                lines.append([f'**{escape_markdown(section.title)}**', *[''] * (len(self.heads) - 1)])
            lines += [list(self._marked(row)) for row in section.rows]
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines)

    def terminal(self, title: str | None = None) -> rich.table.Table:
        """Return the table for a terminal."""
        shown = rich.table.Table(
            title=title,
            title_justify='left',
            box=rich.box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            min_width=len(title or ''),
        )
        for column, head in enumerate(self.heads):
            cells = [row.cells[column] for section in self.sections for row in section.rows]
            # Words do not break where a terminal is narrow; the 1 is the padding.
            longest_word = max(map(len, ' '.join([head, *cells]).split()), default=0) + 1
            shown.add_column(head, justify='right' if self.is_numeric(column) else 'left', min_width=longest_word)
        for section in self.sections:
            if section.title:
                shown.add_row(section.title, style='bold')
            for row in section.rows:
                shown.add_row(*row.cells)
            shown.add_section()
        return shown

    def _marked(self, row: Row) -> Iterator[str]:
        for column, cell in enumerate(map(escape_markdown, row.cells)):
            yield f'**{cell}**' if row.emphasis and column == self.emphasized else cell

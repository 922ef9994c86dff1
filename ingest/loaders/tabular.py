"""Tables, shared by all formats that have some: rows as text, rows as records that name their columns, and HTML."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain, islice

from ingest.loaders.builder import DocumentBuilder
from ingest.loaders.cleaning import one_line

LOOK_AHEAD = 20
"""Rows that are read to tell whether the first one is a header."""

ROWS_PER_BLOCK = 1000
"""Rows of one element: a sheet of a million rows is not held twice."""

MAX_REPEATED = 80
"""Characters; the text of a cell that spans rows stands in each of them, unless it is longer."""

_NUMBER = re.compile(r"^[-+(]?[$€£¥]?\s?\d[\d,.'\s]*%?\)?$|^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")

MAX_SPAN = 10
"""Places of the grid per cell; where spans make more, they are no table's, and are passed over."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that spans columns or rows; one that does not is just its text."""

    text: str
    columns: int = 1
    rows: int = 1


Row = Sequence[str | Cell]


def add_table(builder: DocumentBuilder, rows: Iterable[Row], *, header_rows: int = 1) -> None:
    """Add a table whose cells are known to `builder`, as text and as HTML."""
    table = [[_cleaned(cell) for cell in row] for row in rows]
    if sum(_area(cell, len(table)) for row in table for cell in row) > MAX_SPAN * sum(map(len, table)) + 1000:
        table = [[_text(cell) for cell in row] for row in table]
    grid = list(_grid(table))
    joined = _with_signs(grid)
    builder.table(joined or grid, html=html(joined or table, header_rows))


def html(rows: Iterable[Row], header_rows: int = 1) -> str:
    """The same table as HTML: rows and cells, the first rows as header, and nothing else."""
    table = [[_cleaned(cell) for cell in row] for row in rows]
    if not any(isinstance(cell, Cell) for row in table for cell in row):
        table = [row for row in table if any(row)]
    head, body = table[:header_rows], table[header_rows:]
    parts = (("thead", "th", head), ("tbody", "td", body))
    return "<table>" + "".join(_section(name, tag, part) for name, tag, part in parts if part) + "</table>"


def _section(name: str, tag: str, rows: Iterable[Row]) -> str:
    lines = ("<tr>" + "".join(_cell_html(tag, cell) for cell in row) + "</tr>" for row in rows)
    return f"<{name}>{''.join(lines)}</{name}>"


def _cell_html(tag: str, cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<{tag}>{escape(cell, quote=False)}</{tag}>"
    columns = f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    rows = f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    return f"<{tag}{columns}{rows}>{escape(cell.text, quote=False)}</{tag}>"


def _cleaned(cell: str | Cell) -> str | Cell:
    if isinstance(cell, str) or cell.columns < 2 > cell.rows:
        return one_line(_text(cell))
    return Cell(one_line(cell.text), cell.columns, cell.rows)


def _text(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _area(cell: str | Cell, height: int) -> int:
    return 1 if isinstance(cell, str) else cell.columns * min(cell.rows, height)


def _grid(table: Iterable[Row]) -> Iterator[list[str]]:
    """Each row with a text for each of its columns, those that a cell from above reaches into included."""
    reaching: dict[int, tuple[int, str]] = {}
    for row in table:
        line: list[str] = []
        below: dict[int, tuple[int, str]] = {}
        cells = iter(row)
        while True:
            if len(line) in reaching:
                rows, text = reaching.pop(len(line))
                if rows > 1:
                    below[len(line)] = rows - 1, text
                line.append(text)
                continue
            cell = next(cells, None)
            if cell is None:
                break
            if isinstance(cell, Cell) and cell.rows > 1:
                repeated = cell.text if len(cell.text) <= MAX_REPEATED else ""
                below |= {len(line) + i: (cell.rows - 1, "" if i else repeated) for i in range(cell.columns)}
            line += [cell] if isinstance(cell, str) else [cell.text, *[""] * (cell.columns - 1)]
        reaching = {**{column: (rows - 1, text) for column, (rows, text) in reaching.items() if rows > 1}, **below}
        yield line


_BEFORE = frozenset({"$", "€", "£", "¥", "US$", "(", "$(", "$ ("})
_AFTER = frozenset({")", "%", ")%", ") %"})

MAX_SIGN_COLUMNS = 200
"""Columns up to which signs are looked for."""


def _with_signs(grid: Sequence[Sequence[str]]) -> list[list[str]]:
    """The grid with currency signs, brackets and percent signs beside their numbers, without empty columns.

    Financial reports put them into columns of their own, to line up the digits. Empty where the grid has none.
    """
    if not any(cell in _BEFORE or cell in _AFTER for row in grid for cell in row):
        return []
    width = max(map(len, grid))
    if width > MAX_SIGN_COLUMNS:
        return []
    columns = [[row[i] if i < len(row) else "" for row in grid] for i in range(width)]
    columns = [column for column in columns if any(column)]
    for i in range(len(columns) - 2, -1, -1):
        pairs = list(zip(columns[i], columns[i + 1], strict=True))
        if _is_of(_BEFORE, pairs) or _is_of(_AFTER, [(right, left) for left, right in pairs]):
            columns[i : i + 2] = [[left + right for left, right in pairs]]
    return [list(row) for row in zip(*columns, strict=True)]


def _is_of(signs: frozenset[str], pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether the first of each pair is a sign, or one of the two is empty, as above and below the numbers."""
    return any(sign in signs for sign, _ in pairs) and all(sign in signs or not (sign and cell) for sign, cell in pairs)


def add_rows(builder: DocumentBuilder, rows: Iterable[Sequence[str]]) -> None:
    """Add a table to `builder`: `header: value; header: value` per row, or plain rows where there is no header.

    Titles above a table, rows with one cell only, become paragraphs.
    """
    stream = (cells for cells in ([one_line(cell) for cell in row] for row in rows) if any(cells))
    ahead = list(islice(stream, LOOK_AHEAD))
    width = max((sum(map(bool, row)) for row in ahead), default=0)
    while ahead and width > 1 and sum(map(bool, ahead[0])) == 1:
        builder.paragraph(" ".join(ahead.pop(0)).strip())
    header = ahead.pop(0) if _is_header(ahead) else None
    body = chain(ahead, stream)
    unused = {i for i in range(max(map(len, ahead), default=0)) if not any(row[i : i + 1] > [""] for row in ahead)}
    lines = (_record(header, row) for row in body) if header else (_plain(row, unused) for row in body)
    empty = True
    while block := list(islice(lines, ROWS_PER_BLOCK)):
        builder.records(block)
        empty = False
    if header and empty:
        builder.records([_plain(header, unused)])


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: text, each name once, and below it something other than text or blank.

    A table of words alone has a header when its first row is full.
    """
    if len(rows) < 2:
        return False
    first = _without_tail(rows[0])
    names = [name for name in first if name]
    if len(names) < 2 or len(set(names)) < len(names) or any(map(_NUMBER.match, names)):
        return False
    if max(map(len, names)) > 80:
        return False
    width = max(len(_without_tail(row)) for row in rows)
    return len(names) * 2 > width


def _without_tail(row: Sequence[str]) -> Sequence[str]:
    end = len(row)
    while end and not row[end - 1]:
        end -= 1
    return row[:end]


def _record(header: Sequence[str], row: Sequence[str]) -> str:
    return "; ".join(_cells(header, row))


def _cells(header: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    for i, value in enumerate(row):
        if value:
            name = header[i] if i < len(header) else ""
            yield f"{name.rstrip(':')}: {value}" if name else value


def _plain(row: Sequence[str], unused: set[int]) -> str:
    """Cells joined; columns that are there for looks only are left out."""
    return " | ".join(cell for i, cell in enumerate(_without_tail(row)) if cell or i not in unused)

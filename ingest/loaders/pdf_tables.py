"""Lines of a table on a PDF page to rows of cells, by where they stand. Pure.

A PDF has no cells: their texts stand at the same height and have gaps between them. What overlaps from above to below
is one column; a text that would join two columns spans them, as the head of a group of columns does.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ingest.loaders.pdf_layout import Cell, Line

MAX_COLUMNS = 60
"""What seems to have more is no table."""

LINE_STEP = 1.7
"""Heights from one line of a cell to the next."""

_NUMBER = re.compile(r"^[-+(]*(?:[$€£¥]|US\$)?[\s(]*\d[\d,.'\s]*\)?\s?%?\)?$|^[-\u2013\u2014]{1,3}%?$")
_YEAR = re.compile(r"^(?:19|20)\d\d$")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, each as long as there are columns; the first `header_rows` of them name the columns."""

    rows: tuple[tuple[str, ...], ...]
    header_rows: int

    def texts(self) -> Iterator[str]:
        """The rows for reading: their cells with ` | ` between them; empty cells are left out."""
        for row in self.rows:
            yield " | ".join(cell for cell in row if cell)


def table(lines: Sequence[Line]) -> Table | None:
    """The table that the lines are; None where they have no two columns."""
    rows = [_Row(tuple(_glued(cells)), bottom, height) for cells, bottom, height in _by_height(lines)]
    columns = _columns(rows)
    if len(columns) < 2:
        return None
    placed = [_placed(row, columns) for row in rows]
    count = _header_count(placed)
    head, body = _joined(placed[:count], _is_header_continued), _joined(placed[count:], _is_continued)
    return Table(tuple(row.texts for row in (*head, *body)), len(head))


@dataclass(frozen=True, slots=True)
class _Row:
    """What stands at one height."""

    cells: tuple[Cell, ...]
    bottom: float
    height: float


def _by_height(lines: Sequence[Line]) -> Iterator[tuple[list[Cell], float, float]]:
    """The cells of lines that stand side by side, from left to right, with the row's lower edge and height."""
    row: list[Line] = []
    for line in sorted(lines, key=lambda line: -(line.top + line.bottom)):
        if row and min(row[0].top, line.top) - max(row[0].bottom, line.bottom) <= 0.5 * min(row[0].height, line.height):
            yield _cells(row), row[0].bottom, row[0].height
            row = []
        row.append(line)
    if row:
        yield _cells(row), row[0].bottom, row[0].height


def _cells(row: Sequence[Line]) -> list[Cell]:
    cells = (cell for line in row for cell in line.cells or (Cell(line.text, line.left, line.right),))
    return sorted(cells, key=lambda cell: cell.left)


_CURRENCY = re.compile(r"^\(?(?:[$€£¥]|US\$|EUR|USD|GBP)\s?\(?$")
_UNIT = re.compile(r"^[)%]+$")
_BLANKS = re.compile(r"(?<=[$€£¥]) (?=[\d(.])|(?<=[\d)]) (?=%)")


def _glued(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Cells with the sign of a currency put before its number, and those of percent and brackets after it."""
    pending: Cell | None = None
    for cell in cells:
        if pending and (_CURRENCY.match(pending.text) or _UNIT.match(cell.text)):
            pending = Cell(pending.text + cell.text, pending.left, max(pending.right, cell.right))
        else:
            if pending:
                yield _tidy(pending)
            pending = cell
    if pending:
        yield _tidy(pending)


def _tidy(cell: Cell) -> Cell:
    return replace(cell, text=_BLANKS.sub("", cell.text))


def _columns(rows: Sequence[_Row]) -> list[tuple[float, float]]:
    """Left and right edge of each column."""
    columns: list[tuple[float, float]] = []
    several = [cell for row in rows if len(row.cells) > 1 for cell in row.cells]
    for cell in sorted(several, key=lambda cell: cell.right - cell.left):
        met = [column for column in columns if _overlap(cell, column) > 0]
        if len(met) < 2:
            left, right = met[0] if met else (cell.left, cell.right)
            columns = [column for column in columns if column not in met]
            columns.append((min(left, cell.left), max(right, cell.right)))
        if len(columns) > MAX_COLUMNS:
            return []
    return _merged(sorted(columns), rows)


def _overlap(cell: Cell, column: tuple[float, float]) -> float:
    return min(cell.right, column[1]) - max(cell.left, column[0])


def _merged(columns: Sequence[tuple[float, float]], rows: Sequence[_Row]) -> list[tuple[float, float]]:
    """Neighbours that never occur in one row are one column: an indented label and one that is not."""
    result: list[tuple[float, float]] = []
    for column in columns:
        if result and not any(_has(row, result[-1]) and _has(row, column) for row in rows):
            result[-1] = (result[-1][0], max(result[-1][1], column[1]))
        else:
            result.append(column)
    return result


def _has(row: _Row, column: tuple[float, float]) -> bool:
    return any(column[0] <= cell.left and cell.right <= column[1] for cell in row.cells)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A row with a text, or none, for each column."""

    texts: tuple[str, ...]
    bottom: float
    height: float
    spans: bool
    """Has a cell that stands over two columns or more."""

    @property
    def filled(self) -> frozenset[int]:
        return frozenset(i for i, text in enumerate(self.texts) if text)


def _placed(row: _Row, columns: Sequence[tuple[float, float]]) -> _Placed:
    """Each cell in the column that it overlaps most; one over several columns in the first of them."""
    texts = [""] * len(columns)
    spans = False
    for cell in row.cells:
        over = [i for i, column in enumerate(columns) if _overlap(cell, column) > 0]
        nearest = max(range(len(columns)), key=lambda i: _overlap(cell, columns[i]))
        spans |= len(over) > 1
        place = over[0] if len(over) > 1 else nearest
        while place < len(texts) - 1 and texts[place] and len(over) > 1:
            place += 1
        texts[place] = f"{texts[place]} {cell.text}".strip()
    return _Placed(tuple(texts), row.bottom, row.height, spans)


def _header_count(rows: Sequence[_Placed]) -> int:
    """How many rows from the first on are above the first one with a number in it; years are no numbers."""
    for count, row in enumerate(rows):
        if any(_NUMBER.match(text) and not (_YEAR.match(text) and not row.texts[0]) for text in row.texts[1:]):
            while count and rows[count - 1].filled == {0}:  # "Net sales:" is a label of what follows
                count -= 1
            return count
    return 1


def _joined(rows: Sequence[_Placed], goes_on: Callable[[_Placed, _Placed], bool]) -> list[_Placed]:
    """Rows with those that are further lines of the cells above them put into them."""
    result: list[_Placed] = []
    for row in rows:
        if result and 0 < result[-1].bottom - row.bottom < LINE_STEP * row.height and goes_on(result[-1], row):
            above = result[-1]
            texts = (f"{a} {b}".strip() for a, b in zip(above.texts, row.texts, strict=True))
            result[-1] = replace(row, texts=tuple(texts), spans=above.spans)
        else:
            result.append(row)
    return result


def _is_header_continued(above: _Placed, below: _Placed) -> bool:
    """Whether a header goes on in the next line: "July 1," and "2023"."""
    return not above.spans and not below.spans and below.filled <= above.filled | {0}


def _is_continued(above: _Placed, below: _Placed) -> bool:
    """Whether a label or another text is broken: the rest begins in lower case, or has no label and no numbers."""
    first = below.texts[min(below.filled)]
    if below.filled == {0}:
        return first[0].islower()
    if 0 not in below.filled:
        return below.filled <= above.filled and not any(map(_NUMBER.match, filter(None, below.texts)))
    # The label is broken, and the numbers stand beside its last line.
    return above.filled == {0} and first[0].islower()

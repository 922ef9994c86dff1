"""Lines of a table on a PDF page to rows of cells, by where they stand. Pure.

A PDF has no cells: their texts stand at the same height and have gaps between them. What overlaps from above to below
is one column; a text that would join two columns spans them, as the head of a group of columns does.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ingest.loaders.pdf_lines import Cell, Line

MAX_COLUMNS = 60
"""What seems to have more is no table."""

LINE_STEP = 1.7
"""Heights from one line of a cell to the next."""

TOUCH = 0.2
"""Of a cell's width, that it must share with a column to stand in it."""

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


def tables(lines: Sequence[Line]) -> list[tuple[Table | None, Sequence[Line]]]:
    """The tables that these lines are, with the lines of each; None for lines that have no two columns."""
    rows = [_row(group) for group in _by_height(lines)]
    return [(_table(part), [line for row in part for line in row.lines]) for part in _apart(rows)]


@dataclass(frozen=True, slots=True)
class _Row:
    """What stands at one height, from left to right."""

    lines: tuple[Line, ...]
    cells: tuple[Cell, ...]

    @property
    def bottom(self) -> float:
        return self.lines[0].bottom

    @property
    def height(self) -> float:
        return self.lines[0].height


def _by_height(lines: Sequence[Line]) -> Iterator[list[Line]]:
    row: list[Line] = []
    for line in sorted(lines, key=lambda line: -(line.top + line.bottom)):
        if row and min(row[0].top, line.top) - max(row[0].bottom, line.bottom) <= 0.5 * min(row[0].height, line.height):
            yield row
            row = []
        row.append(line)
    if row:
        yield row


def _row(lines: Sequence[Line]) -> _Row:
    cells = (cell for line in lines for cell in line.parts)
    return _Row(tuple(lines), tuple(_glued(sorted(cells, key=lambda cell: cell.left))))


def _apart(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """The rows of each table, where several stand one below the other: each begins with a title, a row of one cell."""
    if _fits(rows, _columns(rows)):
        yield rows
        return
    table: list[_Row] = []
    for section in _sections(rows):
        columns = _columns([*table, *section])
        most = max(len(_columns(table)), len(_columns(section)))
        if table and not (len(columns) <= most and _fits([*table, *section], columns)):
            yield table
            table = []
        table += section
    yield table


def _sections(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    section: list[_Row] = []
    for row in rows:
        if len(row.cells) == 1 and any(len(above.cells) > 1 for above in section):
            yield section
            section = []
        section.append(row)
    yield section


def _fits(rows: Sequence[_Row], columns: Sequence[tuple[float, float]]) -> bool:
    """Whether no two cells of a row fall into one column."""
    for row in rows:
        places = [place for cell in row.cells if len(place := _places(cell, columns)) == 1]
        if len(places) != len({place[0] for place in places}):
            return False
    return True


def _places(cell: Cell, columns: Sequence[tuple[float, float]]) -> list[int]:
    return [i for i, column in enumerate(columns) if _overlap(cell, column) > 0]


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


def _table(rows: Sequence[_Row]) -> Table | None:
    columns = _columns(rows)
    if len(columns) < 2:
        return None
    placed = [one for one in (_placed(row, columns) for row in rows) if one.filled]  # some rows are dots only
    count = _header_count(placed)
    pitch = _pitch(placed)
    head = _joined(placed[:count], _is_header_continued)
    body = _joined(placed[count:], lambda above, below: _is_continued(above, below, pitch))
    return Table(tuple(row.texts for row in (*head, *body)), len(head))


def _pitch(rows: Sequence[_Placed]) -> float:
    """How far apart rows stand, rather than lines of one row."""
    steps = sorted(above.bottom - below.bottom for above, below in pairwise(rows))
    return steps[len(steps) * 4 // 5] if steps else 0.0


_CURRENCY = re.compile(r"(?:^|\s)(\(?(?:US)?[$€£¥]\s?\(?)$")
_AMOUNT = re.compile(r"^[\d(.\u2013\u2014-]")
_UNIT = re.compile(r"^(?:[)%]+|[:;,])$")
_LEADER = re.compile(r"^[.·…_\s]{3,}$")
"""Dots that lead the eye to the next cell."""
_BLANKS = re.compile(r"(?<=[$€£¥]) (?=[\d(.\u2014])|(?<=[\d)]) (?=%)")


def _glued(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Cells with the sign of a currency put before its number, and those of percent and brackets after it."""
    result: list[Cell] = []
    sign = ""
    for cell, after in pairwise((*cells, Cell("", 0, 0))):
        text = sign + cell.text
        sign = ""
        if _AMOUNT.match(after.text) and (found := _CURRENCY.search(text)):
            text, sign = text[: found.start()], found[1]
        if result and _UNIT.match(text):
            result[-1] = Cell(result[-1].text + text, result[-1].left, cell.right)
        elif text and not _LEADER.match(text):
            result.append(Cell(text, cell.left, cell.right))
    return (replace(cell, text=_BLANKS.sub("", cell.text)) for cell in result)


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
    """Neighbours that never occur in one row are one column, the nearest first.

    A year and the numbers below it, then an indented label and one that is not.
    """
    result = list(columns)
    while True:
        pairs = [i for i in range(1, len(result)) if not _meet(rows, result[i - 1], result[i])]
        if not pairs:
            return result
        at = min(pairs, key=lambda i: result[i][0] - result[i - 1][1])
        result[at - 1 : at + 1] = [(result[at - 1][0], max(result[at - 1][1], result[at][1]))]


def _meet(rows: Sequence[_Row], left: tuple[float, float], right: tuple[float, float]) -> bool:
    return any(_has(row, left) and _has(row, right) for row in rows)


def _has(row: _Row, column: tuple[float, float]) -> bool:
    return any(column[0] <= cell.left and cell.right <= column[1] for cell in row.cells)


def _placed(row: _Row, columns: Sequence[tuple[float, float]]) -> _Placed:
    """Each cell in its column; one over several columns in the first of them."""
    texts = [""] * len(columns)
    spans = False
    for cell in row.cells:
        overlaps = {i: _overlap(cell, column) for i, column in enumerate(columns)}
        over = [i for i, overlap in overlaps.items() if overlap > TOUCH * (cell.right - cell.left)]
        # Long labels reach below the head of the next column; what begins that far right is no label.
        over = [i for i in over if cell.left < (columns[i][0] + columns[i][1]) / 2] or over
        spans |= len(over) > 1
        place = over[0] if len(over) == 1 else max(overlaps, key=lambda i: overlaps[i])
        if len(over) > 1:  # the first of them that is free
            place = next((i for i in over if not texts[i]), place)
        texts[place] = f"{texts[place]} {cell.text}".strip()
    return _Placed(tuple(texts), row.bottom, row.height, spans)


def _header_count(rows: Sequence[_Placed]) -> int:
    """How many rows name the columns: those without label and numbers, and the next one that has no numbers."""
    for number, row in enumerate(rows):
        if _has_number(row):
            return number
        if row.texts[0]:
            # "Net sales:" alone is the label of what follows.
            return number if number and row.filled == {0} else number + 1
    return 1


def _has_number(row: _Placed) -> bool:
    """Whether a row has values; years over columns are none."""
    numbers = [text for text in row.texts[1:] if _NUMBER.match(text)]
    return not all(map(_YEAR.match, numbers))


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
    return not above.spans and not below.spans and not (above.texts[0] and below.texts[0])


def _is_continued(above: _Placed, below: _Placed, pitch: float) -> bool:
    """Whether a label or another text is broken: the rest begins in lower case, or stands closer than a row would."""
    first = below.texts[min(below.filled)]
    if below.filled == {0}:
        return first[0].islower()
    if 0 not in below.filled:
        if all(_YEAR.match(below.texts[i]) for i in below.filled):  # "April 30," and "2023", within a table
            return 0 not in above.filled and below.filled <= above.filled
        close = above.bottom - below.bottom < 0.9 * pitch
        words = below.filled <= above.filled and not any(_NUMBER.match(below.texts[i]) for i in below.filled)
        return words and (close or first[0].islower())
    # The label is broken, and the numbers stand beside its last line.
    return above.filled == {0} and first[0].islower()

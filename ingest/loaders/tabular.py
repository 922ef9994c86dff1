"""Rows of cells to text in which every row says what its columns are; shared by sheets and CSV."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from ingest.loaders.builder import DocumentBuilder
from ingest.loaders.cleaning import one_line

LOOK_AHEAD = 20
"""Rows that are read to tell whether the first one is a header."""

ROWS_PER_BLOCK = 1000
"""Rows of one element: a sheet of a million rows is not held twice."""

_NUMBER = re.compile(r"^[-+(]?[$€£¥]?\s?\d[\d,.'\s]*%?\)?$|^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


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

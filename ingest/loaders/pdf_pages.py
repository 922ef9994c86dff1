"""Pages of lines to the blocks of a document, with their boxes: for PDFs and for recognised images. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.loaders import pdf_headings, pdf_layout, pdf_tables, tabular
from ingest.loaders.builder import DocumentBuilder
from ingest.loaders.pdf_layout import Block, Line
from retrieval.records import Box

Place = tuple[float, float, float, float]
"""Left, bottom, right, top on the page as shown, in points; y grows upwards."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Text that stands upon a page rather than in it: the value of a form field, a note."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Page:
    """What one page holds, in reading order."""

    height: float
    """Points, of the page as shown."""
    lines: Sequence[Line] = ()
    remarks: Sequence[Remark] = field(default=())


def add_pages(
    builder: DocumentBuilder, pages: Sequence[Page], headings: Mapping[int, Sequence[tuple[str, int]]] | None = None
) -> None:
    """Add the pages to `builder`. `headings` are bookmarks by page index: (title, level from 1).

    Numbers of pages are left out. Without headings that are found on their page, they are guessed.
    """
    lines = [page.lines for page in pages]
    numberless = pdf_layout.without_page_numbers(lines)
    lines = numberless if any(numberless) else lines
    words = frozenset(word for page in lines for line in page for word in _WORD.findall(line.text.casefold()))
    for number, (page, blocks) in enumerate(zip(pages, _blocks(lines, headings or {}), strict=True), start=1):
        builder.page()
        for block in blocks:
            _add(builder, block, words, list(_boxes(block.lines, number, page.height)))
        for remark in page.remarks:
            builder.paragraph(remark.text, boxes=[_box(remark.place, number, page.height)])


_WORD = re.compile(r"\w+(?:-\w+)*")


def _blocks(pages: Sequence[Sequence[Line]], headings: Mapping[int, Sequence[tuple[str, int]]]) -> list[list[Block]]:
    """The blocks of each page; headings are those of the bookmarks, or, where there are none, a guess."""
    result = [pdf_layout.blocks(lines, headings.get(index, ())) for index, lines in enumerate(pages)]
    marked = any(block.kind == "heading" for page in result for block in page)
    return result if marked else pdf_headings.guess(result)


def _add(builder: DocumentBuilder, block: Block, words: frozenset[str], boxes: Sequence[Box]) -> None:
    match block.kind:
        case "heading":
            builder.heading(" ".join(line.text for line in block.lines), block.level, boxes=boxes)
        case "table":
            if table := pdf_tables.table(block.lines):
                builder.records(table.texts(), html=tabular.html(table.rows, table.header_rows), boxes=boxes)
            else:
                builder.records((line.text for line in block.lines), boxes=boxes)
        case "paragraph":
            builder.paragraph(pdf_layout.join(block.lines, words), boxes=boxes)


def _boxes(lines: Sequence[Line], number: int, height: float) -> Iterator[Box]:
    """A box for each column that the lines stand in: where they go on further up, the next one begins."""
    start = 0
    for end, (above, below) in enumerate(pairwise(lines), start=1):
        if below.bottom > above.top and below.turn == above.turn:
            yield _around(lines[start:end], number, height)
            start = end
    yield _around(lines[start:], number, height)


def _around(lines: Sequence[Line], number: int, height: float) -> Box:
    places = [line.place for line in lines]
    left, bottom = min(place[0] for place in places), min(place[1] for place in places)
    right, top = max(place[2] for place in places), max(place[3] for place in places)
    return _box((left, bottom, right, top), number, height)


def _box(place: Place, number: int, height: float) -> Box:
    left, bottom, right, top = place
    return Box(number, round(left, 1), round(height - top, 1), round(right, 1), round(height - bottom, 1))

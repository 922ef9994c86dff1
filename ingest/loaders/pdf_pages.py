"""Pages of lines to the blocks of a document, with their boxes: for PDFs and for recognised images. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.loaders import pdf_headings, pdf_layout, pdf_tables, tabular
from ingest.loaders.builder import DocumentBuilder
from ingest.loaders.pdf_layout import Block
from ingest.loaders.pdf_lines import Line
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

    number: int
    """From 1."""
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
    lines: Sequence[Sequence[Line]] = [page.lines for page in pages]
    numberless = pdf_layout.without_page_numbers(lines)
    lines = numberless if any(numberless) else lines
    words = frozenset(word for page in lines for line in page for word in _WORD.findall(line.text.casefold()))
    for page, blocks in zip(pages, _blocks(lines, headings or {}), strict=True):
        builder.page()
        for block in blocks:
            _add(builder, block, page, words)
        for remark in page.remarks:
            builder.paragraph(remark.text, boxes=[_box(remark.place, page)])


_WORD = re.compile(r"\w+(?:-\w+)*")


def _blocks(pages: Sequence[Sequence[Line]], headings: Mapping[int, Sequence[tuple[str, int]]]) -> list[list[Block]]:
    """The blocks of each page; headings are those of the bookmarks, or, where there are none, a guess."""
    result = [pdf_layout.blocks(lines, headings.get(index, ())) for index, lines in enumerate(pages)]
    marked = any(block.kind == "heading" for page in result for block in page)
    return result if marked else pdf_headings.guess(result)


def _add(builder: DocumentBuilder, block: Block, page: Page, words: frozenset[str]) -> None:
    match block.kind:
        case "heading":
            text = " ".join(line.text for line in block.lines)
            builder.heading(text, block.level, boxes=_boxes(block.lines, page))
        case "table":
            for table, lines in pdf_tables.tables(block.lines):
                texts = table.texts() if table else (line.text for line in lines)
                html = tabular.html(table.rows, table.header_rows) if table else ""
                builder.records(texts, html=html, boxes=[_around(lines, page)])
        case "paragraph":
            builder.paragraph(pdf_layout.join(block.lines, words), boxes=_boxes(block.lines, page))


def _boxes(lines: Sequence[Line], page: Page) -> list[Box]:
    """A box for each column that the lines stand in: where they go on further up, the next one begins."""
    starts = [i for i, (above, below) in enumerate(pairwise(lines), start=1) if below.bottom > above.top]
    return [_around(lines[start:end], page) for start, end in pairwise((0, *starts, len(lines)))]


def _around(lines: Sequence[Line], page: Page) -> Box:
    places = [line.place for line in lines]
    left, bottom = min(place[0] for place in places), min(place[1] for place in places)
    right, top = max(place[2] for place in places), max(place[3] for place in places)
    return _box((left, bottom, right, top), page)


def _box(place: Place, page: Page) -> Box:
    left, bottom, right, top = place
    return Box(
        page.number, round(left, 1), round(page.height - top, 1), round(right, 1), round(page.height - bottom, 1)
    )

"""PDF by pdfium: the text of each page in reading order, as paragraphs; page starts are exact.

pdfium is not thread-safe, so one lock guards all of it; several processes may load at once.
"""

import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ingest.loaders import pdf_headings, pdf_layout
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title, stem
from ingest.loaders.cleaning import clean, one_line
from ingest.loaders.pdf_layout import Block, Line
from retrieval.errors import CorruptFile, EmptyDocument, EncryptedFile
from retrieval.records import Document

VERSION = 2

MAX_OUTLINE = 5000
"""Bookmarks that are read; a damaged outline can be endless."""

_LOCK = threading.Lock()

_LINE_END = re.compile("\r\n|\n|\r|(\ufffe|\x02)(?:\r?\n)?")
"""pdfium puts U+FFFE, formerly U+0002, for a hyphen at the end of a line, and no line end after it."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    with _LOCK, _open(data, origin) as document:
        info = document.get_metadata_dict(skip_empty=True)
        headings = _outline(document)
        pages = [_page_lines(document, index) for index in range(len(document))]
    if not any(pages):
        raise EmptyDocument(f"{origin.name!r} has no text layer: the pages are images; OCR is needed")
    numberless = pdf_layout.without_page_numbers(pages)
    pages = numberless if any(numberless) else pages
    words = frozenset(_WORD.findall("\n".join(line.text for page in pages for line in page).casefold()))
    builder = DocumentBuilder()
    for page in _blocks(pages, headings):
        builder.page()
        _add_page(builder, page, words)
    return builder.build(origin, title=_title(info, origin), metadata=_metadata(info))


_WORD = re.compile(r"\w+(?:-\w+)*")


@contextmanager
def _open(data: bytes, origin: Origin) -> Iterator[Any]:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as exc:
        if "password" in str(exc).lower() or "security" in str(exc).lower():
            raise EncryptedFile(f"{origin.name!r} is protected by a password; save it without one") from exc
        raise CorruptFile(f"{origin.name!r} cannot be read as PDF, get a fresh copy: {exc}") from exc
    with closing(document):
        if not len(document):
            raise CorruptFile(f"{origin.name!r} is a PDF without pages; get a fresh copy")
        yield document


def _page_lines(document: Any, index: int) -> list[Line]:
    """The lines of one page that have text; none for a page that is too damaged to load."""
    try:
        page = document[index]
    except pdfium.PdfiumError:
        return []
    with closing(page):
        try:
            textpage = page.get_textpage()
        except pdfium.PdfiumError:
            return []
        with closing(textpage):
            return pdf_layout.whole_lines(_lines(textpage))


def _lines(textpage: Any) -> Iterator[Line]:
    text = textpage.get_text_range()
    start = 0
    for match in (*_LINE_END.finditer(text), None):
        raw = text[start : match.start() if match else len(text)]
        if raw.strip() and clean(raw).strip():
            first = start + len(raw) - len(raw.lstrip())
            yield _line(textpage, first, first + len(raw.strip()) - 1, raw, hyphen=bool(match and match[1]))
        if match:
            start = match.end()


def _line(textpage: Any, first: int, last: int, raw: str, *, hyphen: bool) -> Line:
    text = one_line(raw)
    a, b = _box(textpage, first), _box(textpage, last)
    if not a or not b:
        return Line(text, 0, 0, 0, 0, hyphen)
    bold = _is_bold(textpage, first) and _is_bold(textpage, last)
    tall = max(a, b, key=lambda box: box[3] - box[1])  # the other may be a small raised note number
    left, bottom, right, top = a[0], tall[1], b[2], tall[3]
    if abs(b[1] - a[1]) > abs(b[0] - a[0]) and len(text) > 2:  # runs up or down: turn it
        if b[1] > a[1]:
            left, bottom, right, top = a[1], -a[2], b[3], -a[0]
        else:
            left, bottom, right, top = -a[3], a[0], -b[1], a[2]
    return Line(text, left, bottom, right, top, hyphen, bold)


def _box(textpage: Any, index: int) -> tuple[float, float, float, float] | None:
    char = pdfium_c.FPDFText_GetCharIndexFromTextIndex(textpage, index)
    rect = pdfium_c.FS_RECTF()
    if char < 0 or not pdfium_c.FPDFText_GetLooseCharBox(textpage, char, rect):
        return None
    return rect.left, rect.bottom, rect.right, rect.top


_BOLD = re.compile(rb"bold|black|heavy|demi|cmbx|sfbx|-bd\b", re.IGNORECASE)
"""In the name of a font; the weight that pdfium computes from its stems is often wrong."""


def _is_bold(textpage: Any, index: int) -> bool:
    name = ctypes.create_string_buffer(128)
    char = pdfium_c.FPDFText_GetCharIndexFromTextIndex(textpage, index)
    size = pdfium_c.FPDFText_GetFontInfo(textpage, char, name, len(name), ctypes.c_int()) if char >= 0 else 0
    return 0 < size <= len(name) and bool(_BOLD.search(name.value))


def _blocks(pages: list[list[Line]], headings: dict[int, list[tuple[str, int]]]) -> list[list[Block]]:
    """The blocks of each page; headings are those of the bookmarks, or, where there are none, a guess."""
    result = [pdf_layout.blocks(lines, headings.get(index, [])) for index, lines in enumerate(pages)]
    marked = any(block.kind == "heading" for page in result for block in page)
    return result if marked else pdf_headings.guess(result)


def _add_page(builder: DocumentBuilder, page: list[Block], words: frozenset[str]) -> None:
    for block in page:
        match block.kind:
            case "heading":
                builder.heading(" ".join(line.text for line in block.lines), block.level)
            case "table":
                builder.records(line.text for line in block.lines)
            case "paragraph":
                builder.paragraph(pdf_layout.join(block.lines, words))


def _outline(document: Any) -> dict[int, list[tuple[str, int]]]:
    """Bookmarks by page index: (title, level from 1). Only those found on their page become headings."""
    result: dict[int, list[tuple[str, int]]] = {}
    try:
        for count, bookmark in enumerate(document.get_toc(max_depth=6)):
            if count >= MAX_OUTLINE:
                break
            target = bookmark.get_dest()
            index = target.get_index() if target else None
            title = one_line(bookmark.get_title())
            if index is not None and title:
                result.setdefault(index, []).append((title, bookmark.level + 1))
    except (pdfium.PdfiumError, ValueError):
        pass  # a broken outline costs headings, not the text
    return result


def _title(info: dict[str, str], origin: Origin) -> str:
    """The title that the file gives itself, unless it is what a program put there."""
    title = sensible_title(info.get("Title", ""))
    if title:
        return title
    # A name of several words was given by a person and says more than a first line such as "UNITED STATES".
    name = stem(origin.name)
    return name if len(_NAME_WORD.findall(name)) > 1 else ""


_NAME_WORD = re.compile(r"[^\W_]*[^\W\d_][^\W_]+|[^\W\d_]\d")


_DATE = re.compile(r"^(?:D:)?(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?")


def _metadata(info: dict[str, str]) -> dict[str, object]:
    fields: dict[str, object] = {
        name: info[key]
        for key, name in (("Author", "author"), ("Subject", "subject"), ("Keywords", "keywords"))
        if info.get(key)
    }
    for key, name in (("CreationDate", "created"), ("ModDate", "modified")):
        moment = _moment(info.get(key, ""))
        if moment:
            fields[name] = moment
    return fields


def _moment(text: str) -> str:
    """A PDF date as ISO 8601, to the second, without its zone: files seldom tell it right."""
    match = _DATE.match(text)
    if not match:
        return ""
    parts = [int(part) if part else default for part, default in zip(match.groups(), (1, 1, 1, 0, 0, 0), strict=True)]
    try:
        return datetime(*parts[:6]).isoformat()  # type: ignore[arg-type]  # noqa: DTZ001 - six numbers
    except ValueError:
        return ""

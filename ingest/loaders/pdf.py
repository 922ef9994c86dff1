"""PDF by pdfium: the text of each page in reading order, as headings, paragraphs and tables; page starts are exact.

pdf_text.py    lines (pdf_lines.py), in the order of the file, with their places
pdf_order.py   lines in reading order
pdf_layout.py  lines to paragraphs and tables         pdf_headings.py  headings by their looks
pdf_tables.py  lines of a table to rows of cells      pdf_pages.py     pages to the blocks of a document
pdf_forms.py   form fields and notes                  pdf_scans.py     scanned pages, by text recognition (ocr.py)

pdfium is not thread-safe, so one lock guards all of it; several processes may load at once.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pypdfium2 as pdfium

from ingest.loaders import pdf_forms, pdf_scans, pdf_text
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title, stem
from ingest.loaders.cleaning import one_line
from ingest.loaders.pdf_lines import Line
from ingest.loaders.pdf_order import reading_order
from ingest.loaders.pdf_pages import Page, add_pages
from retrieval.errors import CorruptFile, EmptyDocument, EncryptedFile, LimitExceeded, NeedsOcr
from retrieval.records import Document

VERSION = 3

MAX_OUTLINE = 5000
"""Bookmarks that are read; a damaged outline can be endless."""

MAX_PAGES = 100_000
"""Of a file; print has fewer, and a generated one may claim any number."""

MAX_LINES = 1_000_000
"""Of a file: some 400 MB while they are put together."""

_LOCK = threading.Lock()


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    with _LOCK, _open(data, origin) as document:
        info = document.get_metadata_dict(skip_empty=True)
        headings = _outline(document)
        read = _read(document, origin)
    _require_text(read, origin)
    builder = DocumentBuilder()
    add_pages(builder, read.pages, headings)
    return builder.build(origin, title=_title(info, origin), metadata={**_metadata(info), **read.metadata()})


@dataclass(slots=True)
class _Read:
    """All pages, and the numbers of those that are scans: with text by recognition, or without."""

    pages: list[Page]
    recognised: list[int]
    unread: list[int]

    def metadata(self) -> dict[str, object]:
        fields = {"pages_recognised": self.recognised, "pages_without_text": self.unread}
        return {name: numbers for name, numbers in fields.items() if numbers}


def _require_text(read: _Read, origin: Origin) -> None:
    if len(read.unread) == len(read.pages):
        why = (
            f"no text was recognised on them ({origin.ocr.languages})"
            if origin.ocr.languages
            else "install tesseract to have them read"
        )
        raise NeedsOcr(f"{origin.name!r} has no text layer, its pages are images: {why}")
    if not any(page.lines or page.remarks for page in read.pages):
        raise EmptyDocument(f"{origin.name!r} holds no text: its pages are blank or drawings")


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
        if len(document) > MAX_PAGES:
            raise LimitExceeded(f"{origin.name!r} has {len(document)} pages, more than {MAX_PAGES}; split it")
        yield document


def _read(document: Any, origin: Origin) -> _Read:
    """The pages, one after the other; nothing of pdfium's is kept of a page that is done."""
    if document.get_formtype():
        document.init_forms()
    read = _Read([], [], [])
    count = 0
    for number in range(1, len(document) + 1):
        try:
            page = document[number - 1]
        except pdfium.PdfiumError:  # too damaged to load
            read.pages.append(Page(number, 0.0))
            continue
        with closing(page):
            read.pages.append(_page(page, number, document.formenv, read, origin))
        count += len(read.pages[-1].lines)
        if count > MAX_LINES:
            raise LimitExceeded(
                f"{origin.name!r} has more than {MAX_LINES} lines on its first {number} pages; split it"
            )
    return read


def _page(page: Any, number: int, forms: Any, read: _Read, origin: Origin) -> Page:
    shown = pdf_text.frame(page)
    lines = pdf_text.lines(page, shown)
    if pdf_scans.is_scanned(page, lines, shown.width * shown.height):
        found = _recognised(page, origin) if origin.ocr.languages else []
        (read.recognised if found else read.unread).append(number)
        lines = found or lines
    return Page(number, shown.height, reading_order(lines), pdf_forms.remarks(page, forms, shown))


def _recognised(page: Any, origin: Origin) -> list[Line]:
    origin.ocr.before_page()
    return pdf_scans.recognised(page, origin.ocr.languages, origin.name)


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

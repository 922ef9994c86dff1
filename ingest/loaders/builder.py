"""The shared way to make a Document: loaders say what the parts are, the builder knows where they stand."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import PurePosixPath
from typing import NamedTuple, cast

from ingest.loaders import language
from ingest.loaders.cleaning import one_line, prose, verbatim
from retrieval.errors import EmptyDocument
from retrieval.records import Box, Document, Element, ElementKind, MetadataValue

MAX_TITLE = 200
"""Characters; a longer title is cut at a word."""

MAX_HEADING = 300
"""Characters; a longer "heading" is a paragraph that was styled as one."""


def _drop(name: str, data: bytes) -> None:
    """For callers that want no attachments."""


def _go_on() -> None:
    """For callers that let recognition take as long as it takes."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """How text on images is recognised."""

    languages: str
    """As tesseract knows them, e.g. "eng+deu"; empty: it is not recognised."""
    before_page: Callable[[], None] = _go_on
    """Called before each page: such pages take their time. May raise."""


NO_OCR = Recognition("")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the bytes come from: goes into the Document as it is."""

    name: str
    """File name, for its extension, for messages, and as the last resort for a title."""
    source_uri: str
    doc_id: str
    media_type: str
    file_type: str
    """As `ingest.loaders.detection.detect` names it."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    attach: Callable[[str, bytes], None] = _drop
    """What a loader hands files over to that came within this one, by name: they become documents of their own."""
    ocr: Recognition = NO_OCR
    """How text on images is recognised."""


class Part(NamedTuple):
    """`text[start:end]` of a source text, and the names of the symbols that it stands in, outermost first."""

    start: int
    end: int
    path: tuple[str, ...]


class DocumentBuilder:
    """Collects blocks in reading order and yields a Document with exact offsets and heading paths.

    Blocks are separated by an empty line, rows of a table and items of a list by a line break. Blocks that are empty
    once cleaned are dropped.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._elements: list[Element] = []
        self._path: list[tuple[int, str]] = []
        self._page_starts: list[int] = []
        self._new_pages = 0
        self._items: list[str] = []
        self._records: list[str] = []
        self._first_title = ""
        self._first_line = ""

    @property
    def is_empty(self) -> bool:
        """Whether no block has any text yet."""
        return not self._parts and not self._items and not self._records

    def page(self) -> None:
        """Begin the next page; what is added from now on stands on it."""
        self._close()
        self._new_pages += 1

    def title(self, text: str, *, boxes: Sequence[Box] = ()) -> None:
        """The document's own title, as it stands in the text."""
        text = one_line(text)
        if text and not self._first_title:
            self._first_title = text
        self._append("title", text, boxes=boxes)

    def heading(self, text: str, level: int, *, boxes: Sequence[Box] = ()) -> None:
        """A heading; what follows belongs to it until one of the same or a smaller level."""
        text = one_line(text)
        if not text:
            return
        if len(text) > MAX_HEADING:
            self.paragraph(text, boxes=boxes)
            return
        self._close()
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._append("heading", text, level=level, boxes=boxes)
        self._path.append((level, text))
        if level == 1 and not self._first_title:
            self._first_title = text

    def paragraph(self, text: str, *, boxes: Sequence[Box] = ()) -> None:
        """Running text. White space is made single; line breaks in it are kept."""
        self._append("paragraph", prose(text), boxes=boxes)

    def item(self, text: str, *, depth: int = 0, marker: str = "-") -> None:
        """An item of a list; items that follow each other make one list. `depth` 0 is the outermost."""
        text = prose(text)
        if text:
            if self._records:
                self._close()
            indent = "  " * depth
            self._items.append(f"{indent}{marker} " + text.replace("\n", f"\n{indent}  "))

    def continue_item(self, text: str, *, depth: int = 0) -> None:
        """A further paragraph of the item added last; an ordinary one when something came between."""
        if not self._items:
            self.paragraph(text)
            return
        text = prose(text)
        if not text:
            return
        indent = "  " * (depth + 1)
        self._items.append(indent + text.replace("\n", "\n" + indent))

    def table(self, rows: Iterable[Sequence[str]], *, html: str = "", boxes: Sequence[Box] = ()) -> None:
        """A table, header row first: one line per row, cells joined by ` | `. Empty rows and columns are dropped.

        `html` is the same table as HTML, made by `ingest.loaders.tabular.html` where the loader has none.
        """
        cells = [[one_line(cell) for cell in row] for row in rows]
        used = sorted({i for row in cells for i, cell in enumerate(row) if cell})
        lines = [" | ".join(row[i] for i in used if i < len(row)) for row in cells if any(row)]
        self._append("table", "\n".join(line.strip() for line in lines), html=html, boxes=boxes)

    def records(self, lines: Iterable[str], *, html: str = "", boxes: Sequence[Box] = ()) -> None:
        """Rows of a table that each say what their columns are; one line each."""
        self._append("table", "\n".join(line for line in map(one_line, lines) if line), html=html, boxes=boxes)

    def record(self, line: str) -> None:
        """One row that says what its columns are; rows that follow each other make one table."""
        line = one_line(line)
        if line:
            if self._items:
                self._close()
            self._records.append(line)

    def code(self, text: str) -> None:
        """Text whose line breaks and indentation matter."""
        self._append("code", verbatim(text))

    def source(self, text: str, parts: Iterable[Part]) -> None:
        """Source code that is `verbatim` already, with an element for each of its parts, ascending."""
        self._append("code", text)
        if self._elements and text:
            whole = self._elements.pop()
            self._elements += [
                Element("code", whole.start + part.start, whole.start + part.end, whole.headings + part.path)
                for part in parts
            ]

    def build(
        self,
        origin: Origin,
        *,
        title: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> Document:
        """The document. `title` falls back on the first title or top heading, the first line, the file name.

        `metadata` may hold anything; what is no scalar or list of scalars is dropped, the origin's own fields win. Its
        `language` becomes an ISO 639-1 code; without one the language is told from the text, where that is for sure.
        Raises EmptyDocument when no block has text.
        """
        self._close()
        if not self._parts:
            raise EmptyDocument(f"{origin.name!r} holds no text")
        text = "".join(self._parts)
        page_starts = self._page_starts + [len(text)] * self._new_pages
        fields = flat_metadata(metadata or {})
        code = language.declared(fields.pop("language", "")) or self._detected_language(text)
        return Document(
            doc_id=origin.doc_id,
            source_uri=origin.source_uri,
            title=self._title(title, origin),
            media_type=origin.media_type,
            text=text,
            elements=tuple(self._elements),
            page_starts=tuple(page_starts),
            metadata={**fields, **({"language": code} if code else {}), **origin.metadata},
        )

    def _append(
        self, kind: ElementKind, text: str, *, level: int | None = None, boxes: Sequence[Box] = (), html: str = ""
    ) -> None:
        self._close()
        if not text:
            return
        if self._parts:
            self._parts.append("\n\n")
            self._length += 2
        start = self._length
        # Pages without text begin where the next text does.
        self._page_starts.extend([start] * self._new_pages)
        self._new_pages = 0
        self._parts.append(text)
        self._length += len(text)
        headings = tuple(heading for _, heading in self._path)
        self._elements.append(Element(kind, start, self._length, headings, level, tuple(boxes), html))
        if not self._first_line:
            self._first_line = _MARKER.sub("", text).partition("\n")[0]

    def _close(self) -> None:
        """Make an element of the items or the records gathered so far; there are never both."""
        kind: ElementKind = "list" if self._items else "table"
        text = "\n".join(self._items or self._records)
        self._items, self._records = [], []
        if text:
            self._append(kind, text)

    def _detected_language(self, text: str) -> str:
        """Of running text only: code is written in English words, and tables in none."""
        prose = [(element.start, element.end) for element in self._elements if element.kind in _PROSE]
        return language.detected(text, prose)

    def _title(self, given: str, origin: Origin) -> str:
        given = one_line(given)
        if letters(given) == letters(self._first_title):  # "safety-manual" and "Safety manual"
            given = ""
        for candidate in (given, self._first_title):
            if any(map(str.isalnum, candidate)):
                return shorten(candidate, MAX_TITLE)
        if any(map(str.isalnum, self._first_line)) and len(self._first_line) <= MAX_TITLE:
            return one_line(self._first_line)
        return stem(origin.name) or shorten(one_line(self._first_line), MAX_TITLE) or origin.doc_id


_PROSE = frozenset({"title", "heading", "paragraph", "list"})
_MARKER = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")
_FILE_NAME = re.compile(r"\.(?:docx?|pptx?|xlsx?|indd|pdf|tex|dvi|qxd|html?|rtf|odt)\b", re.IGNORECASE)
_NO_TITLE = re.compile(
    r"(?i)^(?:\(?(?:untitled(?: document)?|anonymous|unspecified)\)?|slide \d+|presentation\d*|document\d*|[\d\W_]+"
    r"|(?:microsoft )?(?:word|powerpoint|excel)(?: presentation| document)?)$"
    r"|^microsoft (?:word|powerpoint|excel) - "
)


def sensible_title(text: str) -> str:
    """`text` on one line if a person wrote it as a title; empty if a program filled in a file name or its own."""
    title = one_line(text)
    return "" if len(title) < 2 or _FILE_NAME.search(title) or _NO_TITLE.match(title) else title


_SIGNS = re.compile(r"[\W_]+")


def letters(text: str) -> str:
    """Letters and digits of a text, without case: what two spellings of a title have in common."""
    return _SIGNS.sub("", text.casefold())


def shorten(text: str, limit: int) -> str:
    """`text` cut at a word so that it and the ellipsis have at most `limit` characters."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return (cut.rsplit(None, 1)[0] if " " in cut else cut).rstrip(" ,;:") + "…"


def stem(name: str) -> str:
    """A file name without folder and extension, cleaned."""
    return one_line(PurePosixPath(name.replace("\\", "/")).stem)


def flat_metadata(fields: Mapping[str, object]) -> dict[str, MetadataValue]:
    """Fields that can be filtered on: scalars, and lists of scalars of one type; dates as ISO 8601 text."""
    result: dict[str, MetadataValue] = {}
    for key, value in fields.items():
        name = one_line(str(key))
        flat = _flat(value)
        if name and not name.startswith("$") and flat is not None:
            result[name] = flat
    return result


def _flat(value: object) -> MetadataValue | None:
    if isinstance(value, list | tuple | set | frozenset):
        members = [_scalar(member) for member in list(value)[:1000]]
        kinds = {type(member) for member in members}
        if len(kinds) == 1 and kinds <= {str, int, float}:
            return cast("MetadataValue", tuple(members))
        return None
    return _scalar(value)


_FILLERS = frozenset({"", "(anonymous)", "(unspecified)", "unknown", "none", "null"})


def _scalar(value: object) -> str | int | float | bool | None:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, str):
        text = one_line(value)[:4096]
        return None if text.lower() in _FILLERS else text
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None  # stores keep 64 bits
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None

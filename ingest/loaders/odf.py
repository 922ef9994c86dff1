"""ODT, ODS and ODP, the formats of LibreOffice: headings, lists, tables, sheets, slides, read from their XML."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from ingest.loaders import tabular, zip_guard
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title, stem
from ingest.loaders.tabular import Cell
from retrieval.errors import EncryptedFile
from retrieval.records import Document

VERSION = 1

MAX_DEPTH = 50
"""Sections, lists and frames within each other; what is deeper is read as one paragraph."""

MAX_COLUMNS = 1000
MAX_REPEATED = 1000
"""How often a row that is written once and repeated is read."""

_SPACES = {
    prefix: f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}"
    for prefix, name in (
        *(("text", "text"), ("table", "table"), ("office", "office"), ("style", "style"), ("draw", "drawing")),
        *(("meta", "meta"), ("presentation", "presentation"), ("manifest", "manifest")),
    )
}
_SPACES["dc"] = "{http://purl.org/dc/elements/1.1/}"


def _q(name: str) -> str:
    prefix, _, local = name.partition(":")
    return _SPACES[prefix] + local


_P, _H, _LIST, _TABLE, _FRAME, _PAGE = map(
    _q, ("text:p", "text:h", "text:list", "table:table", "draw:frame", "draw:page")
)
_ROW, _CELL, _COVERED = map(_q, ("table:table-row", "table:table-cell", "table:covered-table-cell"))
# Comments, deleted text, tables of contents; boxes and notes within a paragraph become paragraphs of their own.
_SKIPPED = set(
    map(
        _q, ("office:annotation", "text:tracked-changes", "text:table-of-content", "office:forms", "text:note-citation")
    )
)
_APART = {_q("draw:text-box"), _q("text:note-body"), _TABLE}
_META = {
    "dc:title": "title",
    "meta:initial-creator": "author",
    "dc:creator": "author",
    "dc:subject": "subject",
    "dc:description": "description",
    "meta:creation-date": "created",
    "dc:date": "modified",
}


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`. Raises EncryptedFile for what is protected by a password."""
    zip_guard.check(data, origin.name, doctype=True)
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        manifest = zip_guard.xml_part(package, "META-INF/manifest.xml")
        if manifest is not None and next(manifest.iter(_q("manifest:encryption-data")), None) is not None:
            raise EncryptedFile(f"{origin.name!r} is protected by a password; save it without one")
        content = zip_guard.xml_part(package, "content.xml", required_by=origin.name)
        fields = _metadata(zip_guard.xml_part(package, "meta.xml"))
    builder = DocumentBuilder()
    reader = _Reader(builder, content)
    for body in content.iterfind(_q("office:body")):
        if origin.file_type == "ods":
            for sheet in body.iter(_TABLE):
                reader.sheet(sheet)
        else:
            reader.blocks(body)
    title = sensible_title(str(fields.pop("title", "")))
    return builder.build(
        origin, title=title or (stem(origin.name) if origin.file_type == "ods" else ""), metadata=fields
    )


class _Reader:
    """Walks the body and gives the builder its blocks."""

    def __init__(self, builder: DocumentBuilder, content: Any) -> None:
        self._builder = builder
        self._parents = {
            style.get(_q("style:name")): style.get(_q("style:parent-style-name"))
            for style in content.iter(_q("style:style"))
        }

    def blocks(self, parent: Any, depth: int = 0) -> None:
        """All below `parent`, in order."""
        for node in parent:
            if not isinstance(node.tag, str) or node.tag in _SKIPPED:
                continue
            if depth > MAX_DEPTH:
                self._builder.paragraph("".join(node.itertext()))
            elif node.tag in (_P, _H):
                self._paragraph(node, depth)
            elif node.tag == _LIST:
                self._list(node, 0, depth)
            elif node.tag == _TABLE:
                tabular.add_table(self._builder, _rows(node, _cell), header_rows=1)
            elif node.tag == _PAGE:
                self._slide(node, depth)
            else:
                self.blocks(node, depth + 1)

    def sheet(self, sheet: Any) -> None:
        """A sheet of a workbook; sheets within cells have no place here."""
        rows = ([_text_of(cell) for cell in row] for row in _rows(sheet, _sheet_cell))
        first = next((row for row in rows if any(row)), None)
        if first is None:
            return
        self._builder.heading(sheet.get(_q("table:name")) or "", 1)
        tabular.add_rows(self._builder, _with_first(first, rows))

    def _paragraph(self, node: Any, depth: int) -> None:
        text = _text(node)
        level = node.get(_q("text:outline-level")) or "1"
        if node.tag == _H:
            self._builder.heading(text, int(level) if level.isascii() and level.isdigit() and len(level) < 3 else 1)
        elif self._is_title(node.get(_q("text:style-name"))):
            self._builder.title(text)
        else:
            self._builder.paragraph(text)
        self._apart(node, depth)

    def _apart(self, node: Any, depth: int) -> None:
        for part in _outermost(node, _APART):
            if part.tag == _TABLE:
                tabular.add_table(self._builder, _rows(part, _cell), header_rows=1)
            else:
                self.blocks(part, depth + 1)

    def _list(self, node: Any, level: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._builder.item("".join(node.itertext()), depth=level)
            return
        for item in node:
            fresh = True
            for part in item:
                if part.tag == _LIST:
                    self._list(part, level + 1, depth + 1)
                elif part.tag == _H:  # numbered headings stand in lists
                    self._paragraph(part, depth)
                elif part.tag == _P:
                    add = self._builder.item if fresh else self._builder.continue_item
                    add(_text(part), depth=level)
                    fresh = False
                    self._apart(part, depth)

    def _slide(self, slide: Any, depth: int) -> None:
        self._builder.page()
        frames = sorted(slide, key=lambda frame: frame.get(_q("presentation:class")) != "title")
        for frame in frames:
            if frame.get(_q("presentation:class")) == "title":
                self._builder.heading(" ".join(map(_text, frame.iter(_P))), 1)
            elif frame.tag == _q("presentation:notes"):
                for box in frame.iter(_q("draw:text-box")):
                    self.blocks(box, depth + 1)
            elif isinstance(frame.tag, str) and frame.tag not in _SKIPPED:
                self.blocks([frame] if frame.tag in (_P, _LIST, _TABLE) else frame, depth + 1)

    def _is_title(self, style: str | None) -> bool:
        return style == "Title" or self._parents.get(style) == "Title"


_SIGNS = {_q("text:tab"): "\t", _q("text:line-break"): "\n", _q("text:s"): " "}
_WHITE = re.compile(r"\s+")


def _text(node: Any) -> str:
    """What a paragraph shows, without the boxes and notes in it; line breaks of the file are blanks."""
    parts: list[str] = [_flow(node.text)]
    pending = [iter(node)]
    open_nodes = [node]
    while pending:
        child = next(pending[-1], None)
        if child is None:
            pending.pop()
            done = open_nodes.pop()
            parts.append(_flow(done.tail) if pending else "")
        elif not isinstance(child.tag, str) or child.tag in _SKIPPED or child.tag in _APART:
            parts.append(_flow(child.tail))
        else:
            parts.append(_SIGNS.get(child.tag, "") + _flow(child.text))
            pending.append(iter(child))
            open_nodes.append(child)
    return "".join(parts)


def _flow(text: str | None) -> str:
    return _WHITE.sub(" ", text or "")


def _outermost(node: Any, tags: set[str]) -> Iterator[Any]:
    for found in node.iterdescendants(*tags):
        if not any(parent.tag in tags for parent in _between(found, node)):
            yield found


def _between(found: Any, node: Any) -> Iterator[Any]:
    for parent in found.iterancestors():
        if parent is node:
            return
        yield parent


def _rows(table: Any, read: Callable[[Any], Cell]) -> Iterator[list[str | Cell]]:
    """The rows of a table with their cells; one that is repeated comes so often, unless it is empty."""
    for row in table.iter(_ROW):
        if next(row.iterancestors(_TABLE), None) is not table:
            continue  # of a table within a cell
        cells: list[str | Cell] = []
        for node in row.iterchildren(_CELL, _COVERED):
            if node.tag == _COVERED and read is _cell:
                continue
            repeated = min(_count(node, "table:number-columns-repeated"), MAX_COLUMNS - len(cells))
            cells += [read(node)] * max(repeated, 0)
        while cells and not _text_of(cells[-1]):
            cells.pop()
        if cells:
            yield from [cells] * min(_count(row, "table:number-rows-repeated"), MAX_REPEATED)


def _cell(node: Any) -> Cell:
    rows, columns = _count(node, "table:number-rows-spanned"), _count(node, "table:number-columns-spanned")
    return Cell(" ".join(map(_text, node.iter(_P, _H))), columns, rows)


def _sheet_cell(node: Any) -> Cell:
    return Cell(" ".join(_text(child) for child in node.iterchildren(_P)))


def _count(node: Any, name: str) -> int:
    value = node.get(_q(name)) or "1"
    return max(int(value), 1) if value.isascii() and value.isdigit() and len(value) < 8 else 1


def _text_of(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _with_first(first: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rows


def _metadata(root: Any) -> dict[str, object]:
    fields: dict[str, object] = {}
    if root is None:
        return fields
    for name, key in _META.items():
        node = next(root.iter(_q(name)), None)
        if node is not None and node.text and key not in fields:
            fields[key] = node.text[:19] if key in ("created", "modified") else node.text
    keywords = [node.text for node in root.iter(_q("meta:keyword")) if node.text]
    return fields | ({"keywords": keywords} if keywords else {})

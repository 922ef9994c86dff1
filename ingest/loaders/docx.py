"""DOCX by python-docx: headings by outline level, lists, tables, in document order.

python-docx opens the package and resolves styles; the text is gathered from the XML itself, since its paragraphs leave
out what stands in content controls, tracked insertions, text boxes and equations.
"""

from collections.abc import Iterator
from typing import Any

import docx
from docx.oxml.ns import qn

from ingest.loaders import tabular
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title
from ingest.loaders.openxml import core_properties, open_package
from ingest.loaders.tabular import Cell
from retrieval.records import Document

VERSION = 2

MAX_DEPTH = 50
"""Tables within tables; damaged files go deeper."""

MAX_COLUMNS = 1000
"""Of a table that a row may begin to the right of."""

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_P, _TBL, _TR, _TC = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc")
_TEXT = {qn("w:t"), f"{_MATH}t"}
_SIGNS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
# Deleted and moved-away text, the second form of a drawing, properties (which hold tab stops), and boxes, which are
# paragraphs of their own.
_SKIPPED = {
    qn("w:del"),
    qn("w:moveFrom"),
    qn("w:pPr"),
    qn("w:rPr"),
    qn("w:txbxContent"),
    f"{_COMPATIBILITY}Fallback",
}


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    package = open_package(docx.Document, data, origin)
    builder = DocumentBuilder()
    styles = _Styles(package)
    for block in _blocks(package.element.body):
        if block.tag == _TBL:
            tabular.add_table(builder, _rows(block))
        else:
            _add_paragraph(builder, block, styles)
    for note in _notes(package):
        builder.paragraph(note)
    fields = core_properties(data)
    return builder.build(origin, title=sensible_title(fields.pop("title", "")), metadata=fields)


def _blocks(parent: Any, depth: int = 0) -> Iterator[Any]:
    """Paragraphs and tables in order, those inside content controls, insertions and text boxes too."""
    for child in parent.iterchildren():
        if child.tag == _P:
            yield child
            if depth < MAX_DEPTH:
                for box in _boxes(child):
                    yield from _blocks(box, depth + 1)
        elif child.tag == _TBL:
            yield child
        elif child.tag not in _SKIPPED and depth < MAX_DEPTH:
            yield from _blocks(child, depth + 1)


def _boxes(paragraph: Any) -> Iterator[Any]:
    for box in paragraph.iterdescendants(qn("w:txbxContent")):
        if next(box.iterancestors(f"{_COMPATIBILITY}Fallback"), None) is None:
            yield box


def _add_paragraph(builder: DocumentBuilder, paragraph: Any, styles: "_Styles") -> None:
    text = _text(paragraph)
    if not text.strip():
        return
    level, in_list, depth = styles.of(paragraph)
    if level == 0:
        builder.title(text)
    elif level:
        builder.heading(text, level)
    elif in_list:
        builder.item(text, depth=depth)
    else:
        builder.paragraph(text)


def _text(node: Any) -> str:
    parts: list[str] = []
    pending = [iter(node)]
    while pending:  # a stack, not recursion: damaged files nest deep
        child = next(pending[-1], None)
        if child is None:
            pending.pop()
        elif child.tag in _TEXT:
            parts.append(child.text or "")
        elif child.tag in _SIGNS:
            parts.append(_SIGNS[child.tag])
        elif child.tag not in _SKIPPED:
            pending.append(iter(child))
    return "".join(parts)


def _rows(table: Any) -> list[list[str | Cell]]:
    """The cells of each row; a merged cell stands where it begins, with what its continuations hold."""
    rows: list[list[Cell]] = []
    starts: dict[int, tuple[list[Cell], int]] = {}
    for row in table.iterchildren(_TR, qn("w:sdt")):
        cells: list[Cell] = []
        before = row.find(f"{qn('w:trPr')}/{qn('w:gridBefore')}")
        column = int(_value(before) or "0") if (_value(before) or "0").isdigit() else 0
        if 0 < column < MAX_COLUMNS:  # the row begins further right
            cells.append(Cell("", column))
        for node in (cell for cell in row.iterdescendants(_TC) if _own_row(cell, row)):
            width, merge = _span(node)
            if merge == "continue" and column in starts:
                line, i = starts[column]
                line[i] = Cell(f"{line[i].text} {_cell_text(node)}", line[i].columns, line[i].rows + 1)
            else:
                starts.pop(column, None)
                if merge:
                    starts[column] = cells, len(cells)
                cells.append(Cell(_cell_text(node), width))
            column += width
        rows.append(cells)
    return [[*cells] for cells in rows]


def _span(cell: Any) -> tuple[int, str]:
    """(columns of the grid, 'restart' or 'continue' when it is merged with cells above or below)."""
    width = _value(cell.find(f"{qn('w:tcPr')}/{qn('w:gridSpan')}")) or "1"
    merge = cell.find(f"{qn('w:tcPr')}/{qn('w:vMerge')}")
    columns = int(width) if width.isascii() and width.isdigit() and len(width) < 4 else 1
    return max(columns, 1), "" if merge is None else merge.get(qn("w:val")) or "continue"


def _cell_text(cell: Any) -> str:
    return " ".join(_text(paragraph) for paragraph in cell.iterdescendants(_P) if not _in_skipped(paragraph, cell))


def _own_row(cell: Any, row: Any) -> bool:
    # A cell of a table within a cell is part of that cell's text.
    return next(cell.iterancestors(_TR), row) is row or row.tag != _TR


def _in_skipped(paragraph: Any, cell: Any) -> bool:
    for parent in paragraph.iterancestors():
        if parent is cell:
            return False
        if parent.tag == f"{_COMPATIBILITY}Fallback":
            return True
    return False


class _Styles:
    """Looks up what a paragraph is; styles inherit, and a built-in name is English whatever the program speaks."""

    def __init__(self, package: Any) -> None:
        self._by_id = {
            style.get(qn("w:styleId")): style for style in package.styles.element.iterchildren(qn("w:style"))
        }

    def of(self, paragraph: Any) -> tuple[int | None, bool, int]:
        """(heading level, 0 for the title, None for text; whether it is a list item; the item's depth)."""
        style = paragraph.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
        chain = [paragraph, *self._chain(style.get(qn("w:val")) if style is not None else None)]
        outline = _first(chain, "w:pPr/w:outlineLvl")
        names = [name.lower() for name in (_value(node.find(qn("w:name"))) for node in chain[1:]) if name]
        if "title" in names[:2]:
            return 0, False, 0
        if outline is not None and outline.isdigit() and int(outline) < 9:
            return int(outline) + 1, False, 0
        numbering = _first(chain, "w:pPr/w:numPr/w:numId")
        depth = _first(chain, "w:pPr/w:numPr/w:ilvl") or "0"
        named = any(name.startswith("list ") and not name.startswith("list paragraph") for name in names)
        return None, named or numbering not in (None, "0"), min(int(depth), 8) if depth.isdigit() else 0

    def _chain(self, style_id: str | None) -> list[Any]:
        chain: list[Any] = []
        while style_id in self._by_id and len(chain) < 20:  # damaged files inherit in circles
            style = self._by_id[style_id]
            chain.append(style)
            style_id = _value(style.find(qn("w:basedOn")))
        return chain


def _first(chain: list[Any], path: str) -> str | None:
    qualified = "/".join(map(qn, path.split("/")))
    return next((value for value in (_value(node.find(qualified)) for node in chain) if value is not None), None)


def _value(node: Any) -> str | None:
    return node.get(qn("w:val")) if node is not None else None


def _notes(package: Any) -> Iterator[str]:
    """The text of footnotes and endnotes, which stand in parts of their own."""
    for relation in package.part.rels.values():
        if not relation.is_external and relation.reltype.endswith(("/footnotes", "/endnotes")):
            root = docx.oxml.parser.parse_xml(relation.target_part.blob)
            for note in root:
                if note.get(qn("w:type")) is None:  # the others are separators
                    yield " ".join(_text(paragraph) for paragraph in note.iterdescendants(_P))

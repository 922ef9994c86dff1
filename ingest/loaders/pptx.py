"""PPTX by python-pptx: a slide is a page and a section; shapes from top to bottom, tables, charts, notes."""

from collections.abc import Iterator
from typing import Any

import pptx
from pptx.enum.shapes import MSO_SHAPE_TYPE

from ingest.loaders import tabular
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title
from ingest.loaders.openxml import core_properties, open_package
from ingest.loaders.tabular import Cell
from retrieval.records import Document

VERSION = 2

MAX_DEPTH = 20
"""Groups within groups."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    package = open_package(pptx.Presentation, data, origin)
    builder = DocumentBuilder()
    for slide in package.slides:
        builder.page()
        _add_slide(builder, slide)
    fields = core_properties(data)
    return builder.build(origin, title=sensible_title(fields.pop("title", "")), metadata=fields)


def _add_slide(builder: DocumentBuilder, slide: Any) -> None:
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        builder.heading(_line(title.text_frame.text), 1)
    for shape in _shapes(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            _add_shape(builder, shape)
    if slide.has_notes_slide:
        notes = slide.notes_slide.notes_text_frame
        if notes is not None:
            builder.paragraph(notes.text)


def _line(text: str) -> str:
    return text.replace("\v", " ")  # a line break in a title


def _shapes(shapes: Any, depth: int = 0) -> Iterator[Any]:
    """All shapes, those in groups too, from top to bottom and left to right; without a place, in file order."""
    placed = sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0))
    for shape in placed:
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
            if depth < MAX_DEPTH:
                yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def _add_shape(builder: DocumentBuilder, shape: Any) -> None:
    if shape.has_text_frame:
        _add_text(builder, shape)
    elif getattr(shape, "has_table", False) and shape.has_table:
        tabular.add_table(builder, ([*_cells(row)] for row in shape.table.rows))
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        _add_chart(builder, shape.chart)


def _add_text(builder: DocumentBuilder, shape: Any) -> None:
    # Body placeholders show their paragraphs as bullets without saying so in the paragraph.
    paragraphs = [p for p in shape.text_frame.paragraphs if p.text.strip()]
    bullets = shape.is_placeholder and len(paragraphs) > 1
    for paragraph in paragraphs:
        text = paragraph.text.replace("\v", "\n")
        if bullets or paragraph.level:
            builder.item(text, depth=paragraph.level)
        else:
            builder.paragraph(text)


def _cells(row: Any) -> Iterator[Cell]:
    for cell in row.cells:
        if cell.is_merge_origin:
            yield Cell(_line(cell.text), cell.span_width, cell.span_height)
        elif not cell.is_spanned:
            yield Cell(_line(cell.text))


def _add_chart(builder: DocumentBuilder, chart: Any) -> None:
    if chart.has_title and chart.chart_title.has_text_frame:
        builder.paragraph(chart.chart_title.text_frame.text)
    for plot in chart.plots:
        categories = [str(category) for category in plot.categories]
        series = [(one.name, list(one.values)) for one in plot.series]
        rows: list[list[str]] = [["", *(name or "" for name, _ in series)]]
        for i, category in enumerate(categories):
            rows.append([category, *(_number(values[i]) if i < len(values) else "" for _, values in series)])
        tabular.add_table(builder, rows)


def _number(value: object) -> str:
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)

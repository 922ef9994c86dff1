"""XLSX by openpyxl, read-only: each sheet is a section, each row a line that names its columns.

Formulas show the value that was computed when the file was saved.
"""

import io
import warnings
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import openpyxl

from ingest.loaders import tabular
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title, stem
from ingest.loaders.openxml import core_properties, open_package
from retrieval.records import Document

VERSION = 1

MAX_COLUMNS = 1000
"""Columns of a sheet that are read; sheets formatted to the last of 16,384 columns hold nothing out there."""

_ERRORS = frozenset({"#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#N/A", "#NULL!", "#NUM!"})


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    builder = DocumentBuilder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that do not concern the text
        workbook = open_package(_open, data, origin)
        try:
            for sheet in workbook.worksheets:
                _add_sheet(builder, sheet)
        finally:
            workbook.close()
    fields = core_properties(data)
    title = sensible_title(fields.pop("title", ""))
    return builder.build(origin, title=title or stem(origin.name), metadata=fields)


def _open(file: io.BytesIO) -> Any:
    return openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)


def _add_sheet(builder: DocumentBuilder, sheet: Any) -> None:
    sheet.reset_dimensions()  # what a file declares is often wrong, and then rows are cut or padded
    rows = _rows(sheet)
    first = next(rows, None)
    if first is None:
        return
    builder.heading(sheet.title, 1)
    tabular.add_rows(builder, _with_first(first, rows))


def _with_first(first: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rows


def _rows(sheet: Any) -> Iterator[list[str]]:
    for row in sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True):
        cells = [_text(value) for value in row]
        if any(cells):
            yield cells


def _text(value: object) -> str:
    match value:
        case bool():
            text = str(value).lower()
        case float():
            text = f"{value:.10g}"  # 0.1 + 0.2 is 0.3 to a reader
        case datetime():
            text = value.isoformat(sep=" ", timespec="seconds").removesuffix(" 00:00:00")
        case date() | time():
            text = value.isoformat()
        case _:
            text = "" if value is None or value in _ERRORS else str(value)
    return text

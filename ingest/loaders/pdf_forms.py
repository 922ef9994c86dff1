"""Form fields and notes of a PDF page as text: what was filled in and remarked is not part of the page's own text."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pypdfium2.raw as pdfium_c

from ingest.loaders.cleaning import one_line
from ingest.loaders.pdf_pages import Remark
from ingest.loaders.pdf_text import Frame

MAX_REMARKS = 5000
"""Annotations of one page that are read."""

MAX_LENGTH = 2**20
"""Bytes of one text; a longer one is left out."""

_NOTES = {
    pdfium_c.FPDF_ANNOT_TEXT: "Note",
    pdfium_c.FPDF_ANNOT_FREETEXT: "Note",
    pdfium_c.FPDF_ANNOT_HIGHLIGHT: "Note on marked text",
    pdfium_c.FPDF_ANNOT_UNDERLINE: "Note on marked text",
    pdfium_c.FPDF_ANNOT_SQUIGGLY: "Note on marked text",
    pdfium_c.FPDF_ANNOT_STRIKEOUT: "Note on marked text",
    pdfium_c.FPDF_ANNOT_CARET: "Note",
    pdfium_c.FPDF_ANNOT_STAMP: "Stamp",
    pdfium_c.FPDF_ANNOT_SQUARE: "Note",
    pdfium_c.FPDF_ANNOT_CIRCLE: "Note",
    pdfium_c.FPDF_ANNOT_LINE: "Note",
    pdfium_c.FPDF_ANNOT_POLYGON: "Note",
    pdfium_c.FPDF_ANNOT_POLYLINE: "Note",
    pdfium_c.FPDF_ANNOT_INK: "Note",
}
"""Kinds of annotation that hold what a person wrote; links, pop-ups and sounds do not."""

_SECRET = 1 << 13
"""Flag of a text field for passwords (PDF 32000-1, table 228)."""


def remarks(page: Any, forms: Any, shown: Frame) -> list[Remark]:
    """The filled form fields and the notes of a page, as it lists them. `forms` is None for a file without fields."""
    result: list[Remark] = []
    for index in range(min(pdfium_c.FPDFPage_GetAnnotCount(page), MAX_REMARKS)):
        with _annotation(page, index) as annotation:
            if annotation and (text := _text(annotation, forms)):
                result.append(Remark(text, _place(annotation, shown)))
    return list(dict.fromkeys(result))  # the buttons of one choice say the same


@contextmanager
def _annotation(page: Any, index: int) -> Iterator[Any]:
    annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
    try:
        yield annotation
    finally:
        if annotation:
            pdfium_c.FPDFPage_CloseAnnot(annotation)


def _text(annotation: Any, forms: Any) -> str:
    if pdfium_c.FPDFAnnot_GetFlags(annotation) & pdfium_c.FPDF_ANNOT_FLAG_HIDDEN:
        return ""
    kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
    if kind == pdfium_c.FPDF_ANNOT_WIDGET:
        return _field(annotation, forms) if forms else ""
    label = _NOTES.get(kind)
    content = _string(lambda *room: pdfium_c.FPDFAnnot_GetStringValue(annotation, b"Contents", *room)) if label else ""
    return f"{label}: {content}" if content else ""


def _field(annotation: Any, forms: Any) -> str:
    """`Form field NAME: VALUE`; empty for one that is not filled in, for buttons and for passwords."""
    kind = pdfium_c.FPDFAnnot_GetFormFieldType(forms, annotation)
    if kind in (pdfium_c.FPDF_FORMFIELD_CHECKBOX, pdfium_c.FPDF_FORMFIELD_RADIOBUTTON):
        if not pdfium_c.FPDFAnnot_IsChecked(forms, annotation):
            return ""
        chosen = _string(lambda *room: pdfium_c.FPDFAnnot_GetFormFieldExportValue(forms, annotation, *room))
        value = "checked" if chosen.casefold() in ("", "yes", "on", "1", "true") else chosen
    elif kind in (
        pdfium_c.FPDF_FORMFIELD_TEXTFIELD,
        pdfium_c.FPDF_FORMFIELD_COMBOBOX,
        pdfium_c.FPDF_FORMFIELD_LISTBOX,
    ):
        if pdfium_c.FPDFAnnot_GetFormFieldFlags(forms, annotation) & _SECRET and (
            kind == pdfium_c.FPDF_FORMFIELD_TEXTFIELD
        ):
            return ""
        value = _string(lambda *room: pdfium_c.FPDFAnnot_GetFormFieldValue(forms, annotation, *room))
    else:
        return ""
    name = _string(lambda *room: pdfium_c.FPDFAnnot_GetFormFieldAlternateName(forms, annotation, *room)) or _string(
        lambda *room: pdfium_c.FPDFAnnot_GetFormFieldName(forms, annotation, *room)
    )
    return f"Form field {name}: {value}" if value else ""


def _string(read: Callable[..., int]) -> str:
    """A text of pdfium's: UTF-16, asked for its length in bytes first."""
    length = read(None, 0)
    if not 2 < length <= MAX_LENGTH:
        return ""
    room = (ctypes.c_ushort * (length // 2 + 1))()
    read(room, length)
    return one_line(bytes(room)[: length - 2].decode("utf-16-le", errors="replace"))


def _place(annotation: Any, shown: Frame) -> tuple[float, float, float, float]:
    rect = pdfium_c.FS_RECTF()
    if not pdfium_c.FPDFAnnot_GetRect(annotation, rect):
        return (0.0, 0.0, 0.0, 0.0)
    return shown.shown((rect.left, rect.bottom, rect.right, rect.top))

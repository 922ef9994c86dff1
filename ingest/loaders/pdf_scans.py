"""Scanned pages: how they are told from others, and their text by recognition, as lines like those of other pages."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ingest.loaders import ocr
from ingest.loaders.pdf_lines import Cell, Line
from ingest.loaders.pdf_text import GAP

FEW_CHARACTERS = 20
"""A page with fewer may be a scan with a stamp; blanks do not count."""

COVERED = 0.5
"""Of the page, that the images on a scan with a stamp take up, at least; some scanners make strips of a page."""

PICTURED = 0.05
"""The same of a page without any text."""

DRAWN = 200
"""Paths on a page without text from which its letters may be drawings."""

RESOLUTION = 300
"""Dots per inch that pages are drawn with: what tesseract is made for."""

MAX_PIXELS = 25_000_000
"""Of a drawn page, a byte each; larger pages get a lower resolution."""

MAX_OBJECTS = 10_000
"""Objects of a page that are looked at."""

LINE_HEIGHT = 1.2
"""Height of a line to that of its ink, as the layout of other pages counts it."""


def is_scanned(page: Any, lines: Sequence[Line], area: float) -> bool:
    """Whether a page, `area` square points large, has hardly any text, but pictures that may hold some."""
    if sum(len(line.text.replace(" ", "")) for line in lines) >= FEW_CHARACTERS:
        return False
    images, paths = 0.0, 0
    try:
        for number, item in enumerate(page.get_objects(max_depth=4)):
            if item.type == pdfium_c.FPDF_PAGEOBJ_IMAGE:
                # Within a form object the bounds are those of the form's own paper: close enough.
                left, bottom, right, top = item.get_bounds()
                images += max(0.0, right - left) * max(0.0, top - bottom)
            paths += item.type == pdfium_c.FPDF_PAGEOBJ_PATH
            if number > MAX_OBJECTS:
                break
    except pdfium.PdfiumError:
        return False
    return images >= COVERED * area or (not lines and (images >= PICTURED * area or paths >= DRAWN))


def recognised(page: Any, languages: str, name: str) -> list[Line]:
    """The lines of a page by text recognition; errors as `ocr.recognise` raises them."""
    width, height = page.get_size()
    scale = min(RESOLUTION / 72, math.sqrt(MAX_PIXELS / max(width * height, 1.0)))
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        rows = memoryview(bitmap.buffer).cast("B")
        if bitmap.stride != bitmap.width:
            rows = memoryview(b"".join(bytes(rows[i : i + bitmap.width]) for i in range(0, len(rows), bitmap.stride)))
        image = b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + bytes(rows)
    finally:
        bitmap.close()
    pages = ocr.recognise(image, languages=languages, name=name)
    return [line for page in pages[:1] for line in as_lines(page, 1 / scale)]


def as_lines(page: ocr.Page, scale: float = 1.0) -> list[Line]:
    """Lines of words as lines of a page; `scale` is points per pixel."""
    heights = [_ink(words) * scale for words in page.lines]
    usual = median(heights) if heights else 0.0
    return [
        _line(words, page.height, scale, usual if abs(height - usual) < 0.4 * usual else height)
        for words, height in zip(page.lines, heights, strict=True)
    ]


def _ink(words: Sequence[ocr.Word]) -> int:
    return max(word.bottom for word in words) - min(word.top for word in words)


def _line(words: Sequence[ocr.Word], page_height: int, scale: float, ink: float) -> Line:
    """A line whose ink is `ink` points high, whether it has letters that reach up and down or not."""
    text = " ".join(word.text for word in words)
    bottom = (page_height - max(word.bottom for word in words)) * scale
    height = min(LINE_HEIGHT * ink, page_height * scale - bottom)
    hyphen = len(text) > 2 and text.endswith("-") and text[-2].isalpha()
    left, right = min(word.left for word in words) * scale, max(word.right for word in words) * scale
    cells = _cells(words, scale, GAP * height)
    return Line(text[:-1] if hyphen else text, left, bottom, right, bottom + height, hyphen, cells=cells)


def _cells(words: Sequence[ocr.Word], scale: float, gap: float) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    for word in words:
        left, right = word.left * scale, word.right * scale
        if cells and left - cells[-1].right <= gap:
            cells[-1] = Cell(f"{cells[-1].text} {word.text}", cells[-1].left, right)
        else:
            cells.append(Cell(word.text, left, right))
    return tuple(cells) if len(cells) > 1 else ()

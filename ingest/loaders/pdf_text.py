"""The lines of a PDF page by pdfium, in the order of the file, with their places on the page as it is shown.

pdfium gives characters with boxes; asking for each of them would be slow, so it is asked for those at the ends of
words only. Nothing of a page is kept but its lines.
"""

import ctypes
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ingest.loaders.cleaning import clean, one_line
from ingest.loaders.pdf_lines import Cell, Line, whole_lines

GAP = 0.8
"""Heights between two words from which they stand in two columns or cells. Words of justified text seldom reach it."""

WIDE = 2.2
"""Times the usual gap of its line that such a gap has, so that loosely set lines stay whole."""

LEVEL = 0.2
"""Of the height of the smaller of two words in one line, how much they share at least."""

CLOSE = 0.55
"""Width per character, in heights, that running text does not exceed."""

INDENTED = 10
"""Heights to the right of the margin at which lines of a page in one column do not begin."""

FEW_INDENTED = 0.08
"""Of them, those that do: page numbers, headers."""

_LINE_END = re.compile("\r\n|\n|\r|(\ufffe|\x02)(?:\r?\n)?")
"""pdfium puts U+FFFE, formerly U+0002, for a hyphen at the end of a line, and no line end after it."""

_BLANKS = re.compile(r"\s+")

_Rect = tuple[float, float, float, float]
"""Left, bottom, right, top; y grows upwards."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A page as it is shown: what of the paper is seen, and how it is turned."""

    width: float
    """Points, of the page as shown."""
    height: float
    turns: int
    """Quarter turns, clockwise."""
    left: float
    """Of the part that is seen, on the paper."""
    bottom: float

    def shown(self, rect: _Rect) -> _Rect:
        """A rectangle on the paper in points from the left and lower edge of the page as shown."""
        left, bottom, right, top = rect
        left, right, bottom, top = left - self.left, right - self.left, bottom - self.bottom, top - self.bottom
        match self.turns:
            case 1:
                return bottom, self.height - right, top, self.height - left
            case 2:
                return self.width - right, self.height - top, self.width - left, self.height - bottom
            case 3:
                return self.width - top, left, self.width - bottom, right
        return left, bottom, right, top


def frame(page: Any) -> Frame:
    """How a page is shown."""
    width, height = page.get_size()
    rect = pdfium_c.FS_RECTF()
    if not pdfium_c.FPDF_GetPageBoundingBox(page, rect):
        return Frame(width, height, 0, 0.0, 0.0)
    return Frame(width, height, page.get_rotation() // 90, rect.left, rect.bottom)


def lines(page: Any, shown: Frame) -> list[Line]:
    """The lines of one page that have text; none for one that is too damaged."""
    try:
        textpage = page.get_textpage()
    except pdfium.PdfiumError:
        return []
    with closing(textpage):
        return whole_lines(_Reader(textpage, shown).lines())


class _Gap(NamedTuple):
    """A blank in a line, and the places to its left and right."""

    width: float
    start: int
    end: int
    left: float
    right: float
    apart: bool
    """Whether what follows stands higher or lower, in another line."""


_char_index = pdfium_c.FPDFText_GetCharIndexFromTextIndex
_loose_box = pdfium_c.FPDFText_GetLooseCharBox


class _Reader:
    """Characters of one page, by their place in its text."""

    def __init__(self, textpage: Any, shown: Frame) -> None:
        self._textpage = textpage.raw
        self._text: str = textpage.get_text_range()
        self._frame = shown
        self._plain = not (shown.turns or shown.left or shown.bottom)
        self._rect = pdfium_c.FS_RECTF()
        self._font = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()

    def lines(self) -> Iterator[Line]:
        """The lines, with cells where there are some."""
        spans = list(self._spans())
        lines = [self._line(*span) for span in spans]
        simple = _is_one_column(lines)
        for line, (first, raw, hyphen) in zip(lines, spans, strict=True):
            if " " not in raw or line.height <= 0 or (simple and self._is_one_piece(line, first, raw)):
                yield line
            else:
                yield from self._parted(line, first, raw, hyphen)

    def _parted(self, line: Line, first: int, raw: str, hyphen: bool) -> Iterator[Line]:
        """A line with its cells; or several, where pdfium has taken what stands at other heights for one."""
        gaps = list(self._gaps(first, raw, line.turn))
        start = 0
        for gap in (*(gap for gap in gaps if gap.apart), None):
            if gap is None and not start:
                cells = _cells(line, raw, gaps)
                yield replace(line, cells=cells) if cells else line
                return
            part = raw[start : gap.start if gap else len(raw)]
            whole = self._line(first + start, part, hyphen and gap is None)
            cells = _cells(whole, part, list(self._gaps(first + start, part, whole.turn)))
            yield replace(whole, cells=cells) if cells else whole
            start = gap.end if gap else 0

    def _spans(self) -> Iterator[tuple[int, str, bool]]:
        """Of each line: where it starts, its text, and whether it ends within a word."""
        start = 0
        text = self._text
        for match in (*_LINE_END.finditer(text), None):
            raw = text[start : match.start() if match else len(text)]
            if raw.strip() and clean(raw).strip():
                yield start + len(raw) - len(raw.lstrip()), raw.strip(), bool(match and match[1])
            if match:
                start = match.end()

    def _line(self, first: int, raw: str, hyphen: bool) -> Line:
        text = one_line(raw)
        last = first + len(raw) - 1
        a, b = self._box(first), self._box(last)
        if not a or not b:
            return Line(text, 0, 0, 0, 0, hyphen)
        bold = self._is_bold(first) and self._is_bold(last)
        turn = self._turn(first, last, a)
        if turn:
            a, b = _turned(a, turn), _turned(b, turn)
        tall = max(a, b, key=lambda box: box[3] - box[1])  # the other may be a small raised note number
        left, right = min(a[0], b[0]), max(a[2], b[2])
        return Line(text, left, tall[1], right, tall[3], hyphen, bold, turn)

    def _turn(self, first: int, last: int, a: _Rect) -> int:
        """How a line runs, see `Line.turn`, by its first characters: the last ones may be of another line."""
        near = self._box(min(first + 3, last)) if last - first > 1 else None
        if not near:
            return 0
        if abs(near[1] - a[1]) > abs(near[0] - a[0]):
            return 1 if near[1] > a[1] else -1
        # To the left also run Hebrew and Arabic; those do not stand on their head.
        return 2 if self._frame.turns == 2 and near[0] < a[0] else 0

    def _is_one_piece(self, line: Line, first: int, raw: str) -> bool:
        """Whether the file shows a line all at once, and it is no wider than its characters: cells are not like that.

        Most lines of books are, and asking for the gaps between all words takes most of the time.
        """
        if line.right - line.left > CLOSE * line.height * len(raw):
            return False
        start, last = (_char_index(self._textpage, index) for index in (first, first + len(raw) - 1))
        shown = pdfium_c.FPDFText_GetTextObject(self._textpage, start)
        after = pdfium_c.FPDFText_GetTextObject(self._textpage, last)
        return bool(shown and after) and _address(shown) == _address(after)

    def _gaps(self, first: int, raw: str, turn: int) -> Iterator[_Gap]:
        """The gaps between words, as they follow each other in the text."""
        for blank in _BLANKS.finditer(raw):
            start, end = blank.span()
            before, after = self._box(first + start - 1), self._box(first + end)
            if before and after:
                if turn:
                    before, after = _turned(before, turn), _turned(after, turn)
                width = max(after[0] - before[2], before[0] - after[2])  # the latter from right to left
                shared = min(before[3], after[3]) - max(before[1], after[1])
                apart = shared < LEVEL * min(before[3] - before[1], after[3] - after[1])
                yield _Gap(width, start, end, before[2], after[0], apart)

    def _box(self, index: int) -> _Rect | None:
        char = _char_index(self._textpage, index)
        rect = self._rect
        if char < 0 or not _loose_box(self._textpage, char, rect):
            return None
        box = rect.left, rect.bottom, rect.right, rect.top
        return box if self._plain else self._frame.shown(box)

    def _is_bold(self, index: int) -> bool:
        name = self._font
        char = _char_index(self._textpage, index)
        size = pdfium_c.FPDFText_GetFontInfo(self._textpage, char, name, len(name), self._flags) if char >= 0 else 0
        return 0 < size <= len(name) and bool(_BOLD.search(name.value))


def _is_one_column(lines: Sequence[Line]) -> bool:
    """Whether hardly any line begins further to the right than indented ones do."""
    upright = [line for line in lines if not line.turn and line.height > 0]
    if not upright:
        return True
    lefts = sorted(line.left for line in upright)
    margin = lefts[len(lefts) // 10] + INDENTED * median(line.height for line in upright)
    return sum(left > margin for left in lefts) <= FEW_INDENTED * len(lefts)


def _address(pointer: Any) -> int | None:
    return ctypes.cast(pointer, ctypes.c_void_p).value


def _cells(line: Line, raw: str, gaps: Sequence[_Gap]) -> tuple[Cell, ...]:
    """The parts of a line with wide gaps between them; none where there are no such gaps."""
    height = line.height
    widths = sorted(gap.width for gap in gaps)
    if not widths or height <= 0 or widths[-1] <= GAP * height or _is_spaced_out(raw):
        return ()
    usual = widths[len(widths) // 2]
    least = max(GAP, WIDE * usual / height) if len(widths) > 3 and usual < GAP * height else GAP
    wide = [gap for gap in gaps if gap.width > least * height]
    if not wide:
        return ()
    starts, lefts = [0, *(gap.end for gap in wide)], [line.left, *(gap.right for gap in wide)]
    stops, rights = [*(gap.start for gap in wide), len(raw)], [*(gap.left for gap in wide), line.right]
    places = list(zip(starts, stops, lefts, rights, strict=True))
    if any(left > right for _, _, left, right in places):  # runs from right to left, or back and forth
        return ()
    return tuple(Cell(one_line(raw[start:stop]), left, right) for start, stop, left, right in places)


def _is_spaced_out(raw: str) -> bool:
    """Whether a line is letters with blanks between: "C H A P T E R"."""
    words = raw.split()
    return len(words) > 3 and sum(len(word) == 1 and word.isalpha() for word in words) > 0.6 * len(words)


_BOLD = re.compile(rb"bold|black|heavy|demi|cmbx|sfbx|-bd\b", re.IGNORECASE)
"""In the name of a font; the weight that pdfium computes from its stems is often wrong."""


def _turned(rect: _Rect, turn: int) -> _Rect:
    """A box of a line that does not run to the right, so that it does; see `Line.place`."""
    left, bottom, right, top = rect
    match turn:
        case 1:
            return bottom, -right, top, -left
        case -1:
            return -top, left, -bottom, right
    return -right, -top, -left, -bottom

"""Lines of a page with their places, and their parts: what all that reads the layout of pages works on. Pure.

All lengths are in points, y grows upwards; `stretch` compares a line's width with what its characters need.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of a line that stands apart from the rest of it."""

    text: str
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text with its box, turned so that the text runs to the right."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    hyphen: bool = False
    """Ends within a word; the hyphen itself is not in `text`."""
    bold: bool = False
    turn: int = 0
    """On the page it runs: 0 to the right, 1 upwards, -1 downwards, 2 upside down to the left."""
    cells: tuple[Cell, ...] = ()
    """Its parts, from left to right, where wide gaps lie between them; empty for a line without."""

    @property
    def place(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top on the page as shown."""
        match self.turn:
            case 1:
                return -self.top, self.left, -self.bottom, self.right
            case -1:
                return self.bottom, -self.right, self.top, -self.left
            case 2:
                return -self.right, -self.top, -self.left, -self.bottom
        return self.left, self.bottom, self.right, self.top

    @property
    def parts(self) -> tuple[Cell, ...]:
        """Its cells; one for a line without gaps."""
        return self.cells or (Cell(self.text, self.left, self.right),)

    @property
    def height(self) -> float:
        return self.top - self.bottom

    @property
    def stretch(self) -> float:
        """Width per character, in heights; East Asian wide characters count twice."""
        units = len(self.text)
        if not self.text.isascii():
            units += sum(unicodedata.east_asian_width(c) in "WF" for c in self.text)
        return (self.right - self.left) / (self.height * units) if self.height > 0 else 0.0


def whole_lines(fragments: Iterable[Line]) -> list[Line]:
    """Lines with the raised and lowered signs that pdfium gives as lines of their own put back where they stand."""
    result: list[Line] = []
    for line in fragments:
        if result and _beside(result[-1], line):
            before = result[-1]
            tall = max(before, line, key=lambda part: part.height)
            blank = " " if line.left - before.right > 0.15 * tall.height else ""
            text = f"{before.text}{blank}{line.text}"
            bold = before.bold and line.bold
            cells = _joined(before, line, blank) if before.cells or line.cells else ()
            box = before.left, tall.bottom, line.right, tall.top
            result[-1] = Line(text, *box, line.hyphen, bold, before.turn, cells)
        else:
            result.append(line)
    return result


def _joined(before: Line, line: Line, blank: str) -> tuple[Cell, ...]:
    """The cells of two lines that become one: the last of the first and the first of the second are one cell."""
    head, tail = before.parts, line.parts
    middle = Cell(f"{head[-1].text}{blank}{tail[0].text}", head[-1].left, tail[0].right)
    return (*head[:-1], middle, *tail[1:])


def _beside(before: Line, line: Line) -> bool:
    height = max(before.height, line.height)
    overlap = min(before.top, line.top) - max(before.bottom, line.bottom)
    near = -0.2 * height < line.left - before.right < 0.6 * height
    return (
        near
        and before.turn == line.turn
        and not before.hyphen
        and height > 0
        and overlap > 0.4 * min(before.height, line.height)
    )

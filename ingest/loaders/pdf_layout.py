"""Lines of a PDF page, as pdfium gives them, to paragraphs, tables and list items. Pure: geometry in, blocks out.

A PDF knows characters and places, no paragraphs. What is used here is robust and cheap: the box of a line, and the
gaps between its parts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from ingest.loaders.builder import MAX_HEADING, letters
from ingest.loaders.pdf_lines import Cell, Line

TABULAR = 0.62
"""Stretch from which a line has gaps in it. Running text has 0.35 to 0.5, spaced capitals 0.55 to 0.6."""

MAX_LABELS = 8
"""Lines of labels, one below the other, without a row among them, in a table."""

MAX_PAGE_LINE = 100
"""Characters of a line with a page number."""

_MARKER = re.compile(r"^(?:\W|.{1,9}[.)]|\d+(?:\.\d+)*)$")
"""What stands before an item of a list or a heading, with a gap between."""

_BULLET = re.compile(r"^(?:[•‣◦▪▫●○■□➢✓·∙-]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{2,5})[.)]) \S")
SENTENCE_END = re.compile(r"[.!?:;。！？]['\"’”)\]]*$")


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together, in the order of the page."""

    kind: Literal["paragraph", "table", "heading"]
    lines: tuple[Line, ...]
    level: int = 0


def blocks(lines: Sequence[Line], headings: Sequence[tuple[str, int]] = ()) -> list[Block]:
    """Group the lines of one page. `headings` are titles known to stand on it, with their level."""
    kinds = _kinds(lines)
    pitch = _pitch(lines)
    known = {letters(title): level for title, level in headings}
    result: list[Block] = []
    i = 0
    while i < len(lines):
        if found := _heading_at(lines, i, known):
            count = found.count
            result.append(Block("heading", tuple(lines[i : i + count]), known.pop(found.key)))
        elif table := _table_at(lines, kinds, i):
            count = table
            result.append(Block("table", tuple(lines[i : i + count])))
        else:
            count = _run_at(lines, kinds, i, pitch, known)
            for paragraph in _paragraphs(lines[i : i + count]):
                if result and _is_continued(result[-1], paragraph):
                    result[-1] = Block("paragraph", result[-1].lines + paragraph.lines)
                else:
                    result.append(paragraph)
        i += count
    return result


def _is_continued(above: Block, below: Block) -> bool:
    """Whether a paragraph goes on at the head of the next column."""
    last, first = above.lines[-1], below.lines[0]
    return (
        above.kind == "paragraph"
        and len(above.lines) > 1
        and first.bottom > last.top
        and _same_height(last, first)
        and first.text[0].islower()
        and not SENTENCE_END.search(last.text)
    )


def without_page_numbers(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without the lines at their head or foot that say little but the number of the page.

    They are known by their number, which grows with the pages while the rest of the line stays the same.
    """
    times = Counter(
        key for index, lines in enumerate(pages) for line in _edges(lines) for key in _numbered(line, index)
    )
    least = max(2, 0.4 * len(pages))
    result: list[list[Line]] = []
    for index, lines in enumerate(pages):
        numbers = {id(line) for line in _edges(lines) if any(times[key] >= least for key in _numbered(line, index))}
        result.append([line for line in lines if id(line) not in numbers])
    return result


def _edges(lines: Sequence[Line]) -> Sequence[Line]:
    return lines if len(lines) <= 4 else [*lines[:2], *lines[-2:]]


_PAGE_NUMBER = re.compile(r"(?<!\d)\d{1,4}(?!\d)")


def _numbered(line: Line, index: int) -> list[tuple[str, int]]:
    """For each number in a line: the rest of the line, and how far the number is from the page's index."""
    if len(line.text) > MAX_PAGE_LINE:
        return []
    numbers = _PAGE_NUMBER.finditer(line.text)
    return [(line.text[: n.start()] + "#" + line.text[n.end() :], int(n[0]) - index) for n in numbers]


_NUMBER = re.compile(r"^\s*(?:\d+(?:\.\d+)*|[IVXLC]+|[A-Z])[.)]?\s+")
"""A section's number, which bookmarks leave out."""


@dataclass(frozen=True, slots=True)
class _Found:
    count: int
    key: str


def _heading_at(lines: Sequence[Line], i: int, known: dict[str, int]) -> _Found | None:
    text = ""
    for count, line in enumerate(lines[i : i + 3] if known else (), start=1):  # long titles take up to three lines
        text += " " + line.text
        if len(text) > MAX_HEADING:
            break
        for key in (letters(text), letters(_NUMBER.sub("", text))):
            if key in known:
                return _Found(count, key)
    return None


_Kind = Literal["row", "label", "prose"]


def _kinds(lines: Sequence[Line]) -> list[_Kind]:
    """A row of a table; a short line that may be a label or column header of one; or running text."""
    if not lines:
        return []
    width = max(line.right for line in lines) - min(line.left for line in lines)
    rows = _rows(lines)
    result: list[_Kind] = []
    for index, line in enumerate(lines):
        if index in rows:
            result.append("row")
        elif (
            line.right - line.left < width * 0.5 and not line.hyphen and not SENTENCE_END.search(line.text.rstrip(": "))
        ):
            result.append("label")
        else:
            result.append("prose")
    return result


def _rows(lines: Sequence[Line]) -> set[int]:
    """The indices of lines with gaps that go on in another such line above or below; justified text has odd ones."""
    found: list[tuple[range, Sequence[Cell]]] = []
    for group in _side_by_side(lines):
        cells: Sequence[Cell] = [cell for i in group for cell in lines[i].parts]
        if len(cells) > (2 if _MARKER.match(cells[0].text) else 1) and not lines[group[-1]].hyphen:
            found.append((group, cells))
        elif len(group) == 1 and _is_stretched(lines[group[0]]):
            found.append((group, ()))
    result: set[int] = set()
    for (above, cells), (below, others) in pairwise(found):
        least = 0.3 * min(lines[above[0]].height, lines[below[0]].height)
        if _share_gap(cells, others, least) or not (cells or others):
            result |= {*above, *below}
    return result


def _side_by_side(lines: Sequence[Line]) -> Iterator[range]:
    """The indices of lines that follow each other to the right, at one height."""
    start = 0
    for i in range(1, len(lines) + 1):
        if i == len(lines) or not _goes_on_right(lines[i - 1], lines[i]):
            yield range(start, i)
            start = i


def _goes_on_right(before: Line, line: Line) -> bool:
    height = min(before.height, line.height)
    level = abs(before.bottom - line.bottom) < 0.3 * height
    return level and line.left > before.right and before.turn == line.turn


def _is_stretched(line: Line) -> bool:
    """Whether its characters stand far apart, though no gap between words is known to be wide."""
    return " " in line.text and line.stretch > TABULAR and not line.hyphen


def _share_gap(cells: Sequence[Cell], others: Sequence[Cell], least: float) -> bool:
    return any(
        min(right.left, other_right.left) - max(left.right, other_left.right) > least
        for left, right in pairwise(cells)
        for other_left, other_right in pairwise(others)
    )


def _table_at(lines: Sequence[Line], kinds: Sequence[_Kind], i: int) -> int:
    """How many lines from `i` on are a table: at least two rows, with the labels above and among them."""
    end, rows = i, 0
    levels: set[float] = set()
    for j in range(i, len(lines)):
        if kinds[j] == "prose" or (j > i and not _near(lines[j - 1], lines[j])):
            break
        if kinds[j] == "row":
            rows, end = rows + 1, j + 1
            levels.clear()
        else:
            levels.add(round(lines[j].bottom))
            if len(levels) > MAX_LABELS:
                break
    return end - i if rows >= 2 else 0


def _near(above: Line, below: Line) -> bool:
    # Cells of a header are one beside the other, some pages give them column by column: up is near too.
    return abs(above.bottom - below.bottom) < 3.2 * max(above.height, below.height)


def _pitch(lines: Sequence[Line]) -> float:
    """The usual distance of baselines, in heights; 1.2 where the page does not tell."""
    steps = [
        (a.bottom - b.bottom) / a.height
        for a, b in pairwise(lines)
        if a.height > 0 and 0.5 * a.height < a.bottom - b.bottom < 2.6 * a.height and _same_height(a, b)
    ]
    return median(steps) if len(steps) >= 4 else 1.2


def _same_height(a: Line, b: Line) -> bool:
    return abs(a.height - b.height) <= 0.15 * max(a.height, b.height)


def _run_at(lines: Sequence[Line], kinds: Sequence[_Kind], i: int, pitch: float, known: dict[str, int]) -> int:
    """How many lines from `i` on are evenly spaced lines of one size, with no table or heading among them."""
    j = i + 1
    while j < len(lines):
        above, below = lines[j - 1], lines[j]
        if not above.hyphen:
            step = above.bottom - below.bottom
            if not (_same_height(above, below) and 0.3 * above.height < step < 1.25 * pitch * above.height):
                break
            if _heading_at(lines, j, known) or (_table_at(lines, kinds, j) and not _introduces(above, below)):
                break
        j += 1
    return j - i


def _introduces(above: Line, below: Line) -> bool:
    """Whether a line before a table ends the sentence above it: "... were as follows (in" and "millions):"."""
    open_above = not SENTENCE_END.search(above.text)
    return open_above and below.text.rstrip().endswith(":") and abs(below.left - above.left) < above.height


def _paragraphs(run: Sequence[Line]) -> list[Block]:
    """Cut a run where a line ends early, a new one is indented, or an item of a list begins."""
    result: list[list[Line]] = [[run[0]]]
    for (above, right), (below, _) in pairwise(zip(run, _right_edges(run), strict=True)):
        if above.hyphen or _continues(result[-1], below, right):
            result[-1].append(below)
        else:
            result.append([below])
    return [Block("paragraph", tuple(lines)) for lines in result]


def _right_edges(run: Sequence[Line]) -> list[float]:
    """For each line the right edge of its column; a broken word may lead from one column to the next."""
    starts = [i for i, (above, below) in enumerate(pairwise(run), start=1) if below.bottom > above.top]
    columns = [run[start:end] for start, end in pairwise((0, *starts, len(run)))]
    return [max(line.right for line in column) for column in columns for _ in column]


def _continues(paragraph: Sequence[Line], below: Line, right: float) -> bool:
    above = paragraph[-1]
    if _BULLET.match(below.text):
        return False
    if abs(below.left - above.left) > 6 * above.height:
        return False
    if below.text[0].islower() and not SENTENCE_END.search(above.text) and above.right > 0.5 * (above.left + right):
        return True  # the middle of a sentence, whatever made the line short
    # The first word of the next line would have fitted: the line ended on purpose.
    first = below.text.split(None, 1)[0] if below.text.split() else ""
    need = (len(first) + 1) * max(below.stretch, 0.3) * below.height
    if above.right + need < right - 0.5 * above.height:
        return False
    # A first line is indented; under a bullet, or under a first line, the text may stand further left or right.
    return len(paragraph) == 1 or below.left - above.left < 0.7 * above.height


def join(lines: Sequence[Line], words: frozenset[str]) -> str:
    """The text of a paragraph in one line. `words` are those of the document: they settle what a hyphen meant."""
    text = lines[0].text.strip()
    for above, below in pairwise(lines):
        following = below.text.strip()
        if above.hyphen:
            text += _hyphen(text, following, words) + following
        else:
            text += " " + following
    return text


_LAST_WORD = re.compile(r"\w+$")
_FIRST_WORD = re.compile(r"^\w+")


def _hyphen(before: str, after: str, words: frozenset[str]) -> str:
    """Nothing where a word was broken, "-" where it is written with one."""
    left, right = _LAST_WORD.search(before), _FIRST_WORD.match(after)
    if not left or not right:
        return "-"
    if (left[0] + right[0]).casefold() in words:
        return ""
    if f"{left[0]}-{right[0]}".casefold() in words or not right[0][0].islower() or left[0][-1].isdigit():
        return "-"
    return ""

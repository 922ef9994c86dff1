"""Headings of a PDF without bookmarks, by how they look: larger than the text, or bold and alone on their lines. Pure.

A guess, so it is made only where it is safe: short, of words, not a sentence, not what stands on page after page.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ingest.loaders.pdf_layout import TABULAR, Block

LARGER = 1.15
"""Height of a heading to that of the text, from which its size alone tells."""

MAX_LENGTH = 120
MAX_LINES = 3
MAX_REPEATED = 3
"""Times that a heading may occur; what occurs more often is at the head or foot of pages."""

MAX_SHARE = 0.4
"""Of all paragraphs; where more look like headings the looks mean something else."""

MAX_LEVEL = 6

_NO_HEADING = re.compile(r"^\W|[.,;:]$|[☐☑☒]")
"""A box to tick stands in forms, whose labels are bold."""

_Style = tuple[float, bool]


def guess(pages: Sequence[Sequence[Block]]) -> list[list[Block]]:
    """The pages with paragraphs that look like headings made headings; the larger, the higher their level."""
    paragraphs = [block for page in pages for block in page if block.kind == "paragraph"]
    body = _body_height(paragraphs)
    candidates = [block for block in paragraphs if _looks_like_heading(block, body)]
    times = Counter(_text(block) for block in candidates)
    chosen = {id(block) for block in candidates if times[_text(block)] <= MAX_REPEATED}
    if len(chosen) > MAX_SHARE * len(paragraphs):
        return [list(page) for page in pages]
    styles = sorted({_style(block) for block in paragraphs if id(block) in chosen}, key=lambda s: (-s[0], not s[1]))
    levels = {style: min(number, MAX_LEVEL) for number, style in enumerate(styles, start=1)}
    return [list(_with_headings(page, chosen, levels)) for page in pages]


def _with_headings(page: Sequence[Block], chosen: set[int], levels: dict[_Style, int]) -> Iterator[Block]:
    pending: Block | None = None
    for block in page:
        if id(block) not in chosen:
            if pending:
                yield pending
            yield block
            pending = None
        elif pending and _goes_on(pending, block):
            pending = replace(pending, lines=pending.lines + block.lines)
        else:
            if pending:
                yield pending
            pending = replace(block, kind="heading", level=levels[_style(block)])
    if pending:
        yield pending


def _goes_on(above: Block, below: Block) -> bool:
    """Whether two lines that look alike are one centred heading."""
    last, first = above.lines[-1], below.lines[0]
    step = last.bottom - first.bottom
    return _style(above) == _style(below) and 0 < step < 1.6 * last.height and len(above.lines) < MAX_LINES


def _body_height(paragraphs: Sequence[Block]) -> float:
    """The height of most characters."""
    heights: Counter[float] = Counter()
    for block in paragraphs:
        for line in block.lines:
            heights[_rounded(line.height)] += len(line.text)
    return heights.most_common(1)[0][0] if heights else 0.0


def _looks_like_heading(block: Block, body: float) -> bool:
    text = _text(block)
    if len(block.lines) > MAX_LINES or len(text) > MAX_LENGTH or _NO_HEADING.search(text) or text[0].islower():
        return False
    letters = sum(map(str.isalpha, text))
    if letters < 3 or letters * 1.6 < len(text.replace(" ", "")):
        return False
    if any(" " in line.text and line.stretch > TABULAR for line in block.lines):
        return False
    height, bold = _style(block)
    return height >= LARGER * body or (bold and height >= 0.95 * body)


def _style(block: Block) -> _Style:
    return _rounded(max(line.height for line in block.lines)), all(line.bold for line in block.lines)


def _rounded(height: float) -> float:
    return round(height * 2) / 2


def _text(block: Block) -> str:
    return " ".join(line.text for line in block.lines)

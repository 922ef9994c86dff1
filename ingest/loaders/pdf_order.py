"""Reading order of the lines of a PDF page, by geometry, where the order of the file is not it. Pure.

Most files hold their text in reading order, better than geometry could guess it; so it is changed for two reasons only.
Columns of running text that are interleaved line by line are read one after the other, and what stands above other
text is read before it. Everything else stays as the file has it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import median

from ingest.loaders.pdf_layout import SENTENCE_END
from ingest.loaders.pdf_lines import Cell, Line

GUTTER = 0.6
"""Heights of a line that a gutter between columns is wide, at least."""

CROSSING = 0.5
"""Of the lines of a column, how many may run across its gutter: headings, tables, text in one column."""

COLUMN_LINES = 5
"""Lines that a column has, at least."""

COLUMN_CHARACTERS = 20
"""Characters of a usual line of a column; shorter ones are labels, or cells of a table."""

FLOW = 0.3
"""Of the lines of a column that go on in lower case with no full stop before: most of running text, few of a table."""

ALTERNATION = 0.3
"""Changes of column per line from which columns are interleaved, where no line runs through several."""

COMMON_LINES = 3
"""Lines with a part in several columns, from which they are interleaved."""

WORD = 4
"""Characters of a stretch of lines that may go before another; fewer are letters of a drawing, or of turned text."""

APART = 4.0
"""Heights from one line to the next from which they are two stretches."""

MAX_PARTS = 80
"""Stretches of lines that are compared with each other; a page with more is a drawing, and stays as it is."""


def reading_order(lines: Sequence[Line]) -> list[Line]:
    """The lines as they are read; those of interleaved columns are cut where the columns are."""
    return _settled(_columns_apart(lines)) if len(lines) > 1 else list(lines)


def _columns_apart(lines: Sequence[Line]) -> list[Line]:
    """The lines with interleaved columns one after the other, between the lines that run across them."""
    gutters = _gutters([piece for line in lines for piece in _pieces(line)])
    if not gutters or not _are_interleaved(lines, gutters):
        return list(lines)
    result: list[Line] = []
    band: list[list[Line]] = [[] for _ in range(len(gutters) + 1)]
    for line in lines:
        if any(_column(piece, gutters) is None for piece in _pieces(line)) or line.turn:
            result += [part for column in band for part in column] + [line]
            band = [[] for _ in band]
        else:
            for column, part in _cut(line, gutters):
                band[column].append(part)
    return result + [part for column in band for part in column]


def _are_interleaved(lines: Sequence[Line], gutters: Sequence[float]) -> bool:
    """Whether the file goes from column to column line by line."""
    columns = [{_column(piece, gutters) for piece in _pieces(line)} - {None} for line in lines]
    if sum(len(places) > 1 for places in columns) >= COMMON_LINES:
        return True
    placed = [places for places in columns if places]
    return sum(a != b for a, b in pairwise(placed)) >= ALTERNATION * len(placed)


def _pieces(line: Line) -> Sequence[Line | Cell]:
    """What of a line stands together; nothing of one that runs up or down."""
    return () if line.turn or line.height <= 0 else line.cells or (line,)


def _column(piece: Line | Cell, gutters: Sequence[float]) -> int | None:
    """The column that a piece stands in; None for one that runs across a gutter."""
    column = bisect_right(gutters, piece.left)
    return column if column == bisect_right(gutters, piece.right) else None


def _cut(line: Line, gutters: Sequence[float]) -> Iterator[tuple[int, Line]]:
    """The parts of a line, none of which runs across a gutter, with the columns that they stand in."""
    if not line.cells:
        yield bisect_right(gutters, line.left), line
        return
    for column, group in groupby(line.cells, key=lambda cell: bisect_right(gutters, cell.left)):
        cells = tuple(group)
        yield (
            column,
            replace(
                line,
                text=" ".join(cell.text for cell in cells),
                left=cells[0].left,
                right=cells[-1].right,
                hyphen=line.hyphen and cells[-1] is line.cells[-1],
                cells=cells if len(cells) > 1 else (),
            ),
        )


def _gutters(pieces: Sequence[Line | Cell]) -> list[float]:
    """Where columns of running text part, from left to right; empty where there are none."""
    heights = [piece.height for piece in pieces if isinstance(piece, Line)]
    if len(pieces) < 2 * COLUMN_LINES:
        return []
    gaps = list(_gaps(pieces, GUTTER * median(heights or [10.0])))
    while gaps:
        gutters = [(left + right) / 2 for left, right in gaps]
        columns: list[list[str]] = [[] for _ in range(len(gaps) + 1)]
        for piece in pieces:
            column = _column(piece, gutters)
            if column is not None:
                columns[column].append(piece.text)
        bad = next((number for number, texts in enumerate(columns) if not _is_prose(texts)), None)
        if bad is None:
            return gutters
        # It belongs to its nearer neighbour: markers of a list to the text behind them.
        gaps.remove(min(gaps[max(bad - 1, 0) : bad + 1], key=lambda gap: gap[1] - gap[0]))
    return []


def _gaps(pieces: Sequence[Line | Cell], width: float) -> Iterator[tuple[float, float]]:
    """Each stretch, at least so wide, across which fewer pieces run than stand to its left and right."""
    steps = Counter[float]()
    for piece in pieces:
        steps[piece.left] += 1
        steps[piece.right] -= 1
    covered, peak = 0, 0
    low: tuple[int, float, float] | None = None
    for left, right in pairwise(sorted(steps)):
        covered += steps[left]
        if right - left >= width and peak >= max(covered / CROSSING, COLUMN_LINES) and (not low or covered < low[0]):
            low = covered, left, right
        if low and covered >= max(low[0] / CROSSING, COLUMN_LINES):
            yield low[1:]
            low, peak = None, 0
        peak = max(peak, covered)


def _is_prose(texts: Sequence[str]) -> bool:
    if len(texts) < COLUMN_LINES or median(map(len, texts)) < COLUMN_CHARACTERS:
        return False
    return sum(_flows(a, b) for a, b in pairwise(texts)) >= FLOW * (len(texts) - 1)


def _flows(above: str, below: str) -> bool:
    """Whether a text goes on in the middle of a sentence."""
    return below[:1].islower() and not SENTENCE_END.search(above)


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines that follow each other downwards, in the order of the file, and the box around them."""

    lines: tuple[Line, ...]
    left: float
    bottom: float
    right: float
    top: float
    characters: int


def _settled(lines: Sequence[Line]) -> list[Line]:
    """The lines with what stands above other text before it, otherwise in the order given."""
    parts = list(_parts(lines))
    if not 1 < len(parts) <= MAX_PARTS or not _has_late(parts):
        return list(lines)
    parts = [piece for part in parts for piece in _split(part, parts)]
    if len(parts) > 4 * MAX_PARTS:
        return list(lines)
    result: list[Line] = []
    done: set[int] = set()

    def read(number: int) -> None:
        if number not in done:
            done.add(number)
            for other, part in enumerate(parts):
                if other not in done and _is_above(part, parts[number]):
                    read(other)
            result.extend(parts[number].lines)

    for number in range(len(parts)):
        read(number)
    return result


def _parts(lines: Sequence[Line]) -> Iterator[_Part]:
    run: list[Line] = []
    for line in lines:
        if run and not run[-1].hyphen and not _follows(run[-1], line):
            yield _part(run)
            run = []
        run.append(line)
    if run:
        yield _part(run)


def _part(lines: Sequence[Line]) -> _Part:
    left, right = min(line.left for line in lines), max(line.right for line in lines)
    return _Part(
        tuple(lines),
        left,
        min(line.bottom for line in lines),
        right,
        max(line.top for line in lines),
        sum(len(line.text) for line in lines),
    )


def _follows(above: Line, below: Line) -> bool:
    """Whether a line stands below the one before, or beside it."""
    if above.turn != below.turn:
        return False
    if min(above.top, below.top) - max(above.bottom, below.bottom) > 0.5 * min(above.height, below.height):
        return True
    step = above.top - below.top
    near = step < APART * max(above.height, below.height) or _flows(above.text, below.text)
    return near and step > 0 and min(above.right, below.right) > max(above.left, below.left)


def _has_late(parts: Sequence[_Part]) -> bool:
    """Whether a part, or a piece of it, stands above one that is before it."""
    return any(
        late.top > early.bottom + 0.5 * early.lines[0].height and _share_column(late, early)
        for number, late in enumerate(parts)
        for early in parts[:number]
    )


def _is_above(above: _Part, below: _Part) -> bool:
    slack = 0.3 * min(above.lines[-1].height, below.lines[0].height)
    return above is not below and above.bottom >= below.top - slack and _share_column(above, below)


def _share_column(a: _Part, b: _Part) -> bool:
    if a.lines[0].turn != b.lines[0].turn or min(a.characters, b.characters) < WORD:
        return False
    overlap = min(a.right, b.right) - max(a.left, b.left)
    return overlap > 0.25 * min(a.right - a.left, b.right - b.left)


def _split(part: _Part, parts: Sequence[_Part]) -> Iterator[_Part]:
    """The part cut where another one lies between two of its lines, but for the middle of a sentence."""
    others = [other for other in parts if other is not part and _share_column(other, part)]
    start = 0
    for end in range(1, len(part.lines)):
        above, below = part.lines[end - 1], part.lines[end]
        slack = 0.3 * below.height
        between = any(other.top <= above.bottom + slack and other.bottom >= below.top - slack for other in others)
        if between and not above.hyphen and not _flows(above.text, below.text):
            yield _part(part.lines[start:end])
            start = end
    yield _part(part.lines[start:])

"""Where a document may be cut: atoms, the smallest parts that chunks are packed from, and what a cut there costs.

An atom is a heading, a sentence, a line of a table, list or code, or, where those are too long, a piece that ends at
white space, in the last resort anywhere. Between two atoms stands nothing but white space.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace

from retrieval.ports import Tokenizer
from retrieval.records import Document, Element

SLICE = 50_000
"""Characters that are tokenised in one call at most: a sheet of a million rows must not be one."""

CHARACTERS_PER_TOKEN = 12
"""A stretch counts as at least one token per so many characters: a word of 10,000 letters may be one unknown token."""

LEAD_IN_TOKENS = 16
"""A paragraph as short as this, without a full stop, says what follows."""

# What it costs to cut after an atom, in the unit of `chunking.split`: 1 is a chunk that is all but empty.
CUT_ELEMENT = 0.0
CUT_SENTENCE = 0.15
CUT_LINE = 0.12
CUT_WORD = 0.5
CUT_ANYWHERE = 0.8
CUT_LEAD_IN = 0.3
CUT_HEADING = 4.0

# A sentence ends at . ! ? and their kin right after a word, closing quotes included, before a blank and no small
# letter; the marks of scripts that write no blanks between sentences end one by themselves.
_SENTENCE_END = re.compile(r"(?:(?<=[^\s.])[.!?…‽؟۔।॥]+[\"'”’»)\]]*\s+(?![a-zà-öø-ÿа-я])|[。！？｡]+[」』”’）]*\s*|\n)")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Atom:
    """`text[start:end]`, without white space around it."""

    start: int
    end: int
    tokens: int
    cut: float
    """Cost of a cut after it."""
    element: Element
    words: bool
    """Whether it has a letter or digit."""
    split_word: bool = False
    """Begins or ends within a word, so that `tokens` is a guess."""

    @property
    def is_heading(self) -> bool:
        """Whether it stands above what follows, so that a cut after it is bad."""
        return self.element.kind in ("heading", "title")


def atoms(document: Document, tokenizer: Tokenizer, *, limit: int) -> list[Atom]:
    """The atoms of a document, ascending, so short that a chunk of `limit` tokens has room for one and its heading.

    Together they hold all that is not white space.
    """
    limit -= limit // 6
    result: list[Atom] = []
    for element in _all_elements(document):
        fine = [
            atom for span in _slices(document.text, element) for atom in _cut(document.text, span, tokenizer, limit)
        ]
        result.extend(_coalesce(fine, document.text, limit))
    return result


def _all_elements(document: Document) -> Iterator[Element]:
    """The elements, and a paragraph for each stretch of text that no element covers."""
    position = 0
    headings: tuple[str, ...] = ()
    for element in (*document.elements, None):
        end = element.start if element else len(document.text)
        if document.text[position:end].strip():
            yield Element("paragraph", position, end, headings)
        if element:
            position, headings = element.end, element.headings
            yield element


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    element: Element


def _slices(text: str, element: Element) -> Iterator[_Span]:
    start = element.start
    while element.end - start > SLICE:
        end = max(
            text.rfind("\n", start + SLICE // 2, start + SLICE), text.rfind(" ", start + SLICE // 2, start + SLICE)
        )
        end = end if end > 0 else _not_before_mark(text, start, start + SLICE)
        yield _Span(start, end, element)
        start = end
    yield _Span(start, element.end, element)


def _cut(text: str, span: _Span, tokenizer: Tokenizer, limit: int) -> Iterator[Atom]:
    part = text[span.start : span.end]
    starts = [span.start + start for start, _ in tokenizer.offsets(part)]
    boundary = CUT_SENTENCE if span.element.kind in ("paragraph", "title", "heading") else CUT_LINE
    for start, end in _parts(part, whole=span.element.kind == "heading", lines=boundary == CUT_LINE):
        yield from _sized(text, span.start + start, span.start + end, starts, span.element, boundary, limit)


def _parts(text: str, *, whole: bool, lines: bool) -> Iterator[tuple[int, int]]:
    start = 0
    if not whole:
        for match in (_LINE_END if lines else _SENTENCE_END).finditer(text):
            yield start, match.end()
            start = match.end()
    yield start, len(text)


_LINE_END = re.compile(r"\n+")


def _sized(
    text: str, start: int, end: int, starts: list[int], element: Element, boundary: float, limit: int
) -> Iterator[Atom]:
    """One atom if it fits, else pieces of a quarter of `limit`: small, so that the packing has a choice."""
    start, end = _trim(text, start, end)
    piece = max(1, limit // 4)
    mid_word = False
    while start < end:
        first = bisect_left(starts, start)
        tokens = _count(first, bisect_left(starts, end), start, end)
        if tokens <= limit:
            yield _atom(text, start, end, tokens, boundary, element, split_word=mid_word)
            return
        after = first + piece
        stop = min(starts[after] if after < len(starts) else end, start + piece * CHARACTERS_PER_TOKEN, end)
        at, cost = _cut_before(text, start, max(stop, start + 1))
        last, split = _trim(text, start, at)[1], cost == CUT_ANYWHERE
        count = _count(first, bisect_left(starts, last), start, last)
        yield _atom(text, start, last, count, cost, element, split_word=mid_word or split)
        start, mid_word = _trim(text, at, end)[0], split


def _atom(text: str, start: int, end: int, tokens: int, cut: float, element: Element, *, split_word: bool) -> Atom:
    words = any(map(str.isalnum, text[start:end]))
    return Atom(start, end, tokens, cut, element, words, split_word)


def _count(first: int, last: int, start: int, end: int) -> int:
    return max(last - first, -(-(end - start) // CHARACTERS_PER_TOKEN), 1)


def _cut_before(text: str, start: int, stop: int) -> tuple[int, float]:
    """The last white space in the second half of `text[start:stop]`, else `stop` itself."""
    at = None
    for match in _SPACE.finditer(text, start + (stop - start) // 2, stop + 1):
        if match.start() > start:
            at = match.end()
    if at is not None:
        return at, CUT_WORD
    return max(_not_before_mark(text, start, stop), start + 1), CUT_ANYWHERE


def _not_before_mark(text: str, start: int, stop: int) -> int:
    """`stop`, moved back so that no accent, joiner or variation selector is torn from its letter."""
    for at in range(stop, max(start, stop - 32), -1):
        before, after = text[at - 1], text[at : at + 1]
        joined = before == "\u200d" or (after and (after == "\u200d" or unicodedata.category(after)[0] == "M"))
        if not joined:
            return at
    return stop


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _coalesce(fine: list[Atom], text: str, limit: int) -> Iterator[Atom]:
    """Join neighbours that are very small, and tables and code that fit; the cut after the last is the element's."""
    if not fine:
        return
    together = fine[0].element.kind in ("table", "code") and sum(atom.tokens for atom in fine) <= limit
    most = limit if together else max(limit // 12, 1)
    pending = fine[0]
    for atom in fine[1:]:
        if pending.tokens + atom.tokens <= most:
            pending = _joined(pending, atom)
        else:
            yield pending
            pending = atom
    yield replace(pending, cut=_cut_after(pending, text))


def _cut_after(last: Atom, text: str) -> float:
    """The cost of a cut after an element that ends with atom `last`."""
    if last.is_heading:
        return CUT_HEADING
    # "The following products were announced:", or a line in bold that stands above a table.
    leads = last.element.kind == "paragraph" and (
        text[last.end - 1] in ":：" or (last.tokens <= LEAD_IN_TOKENS and text[last.end - 1].isalnum())
    )
    return CUT_LEAD_IN if leads else CUT_ELEMENT


def _joined(a: Atom, b: Atom) -> Atom:
    split = a.split_word or b.split_word
    return Atom(a.start, b.end, a.tokens + b.tokens, b.cut, a.element, a.words or b.words, split)

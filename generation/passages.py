"""The sentences of retrieved chunks, each with what a reader knows when he comes to it: title, headings, neighbours."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generation.sentences import Span, is_figures, spans
from retrieval.analysis import Analyzer
from retrieval.records import ScoredChunk

MAX_CONTEXT = 120
"""Characters of title and headings that a sentence is embedded with."""

MAX_ABOVE = 400
"""Characters of the headings within the chunk, a table's header among them, that a sentence is embedded with."""

MAX_HEADING_WORDS = 12
MAX_HEADER_WORDS = 40
"""Of a table."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence of a chunk; headings are not sentences, they are part of what is known of those below them."""

    source: int
    """The number of its chunk, from 1."""
    doc_id: str
    start: int
    end: int
    text: str
    embedded: str
    """The text with its title and headings before it, as it is embedded."""
    terms: frozenset[str]
    near: frozenset[str]
    """Terms of the sentences before and after, of the title and the headings."""
    previous: int | None
    """Where the sentence before it starts, when it is in the same paragraph."""


def passages(chunks: Sequence[ScoredChunk], analyzer: Analyzer, *, asked: frozenset[str]) -> list[Passage]:
    """The sentences of all chunks in order, for a question with the terms `asked`.

    One that is in two overlapping chunks is taken from the better one.
    """
    found: list[Passage] = []
    seen: set[tuple[str, int]] = set()
    for number, scored in enumerate(chunks, start=1):
        for passage in _of_chunk(number, scored, analyzer, asked):
            place = (passage.doc_id, passage.start)
            if place not in seen:
                seen.add(place)
                found.append(passage)
    return found


def context(scored: ScoredChunk) -> str:
    """Title and heading path of a chunk."""
    return (scored.chunk.context or scored.document.title)[:MAX_CONTEXT]


def _of_chunk(number: int, scored: ScoredChunk, analyzer: Analyzer, asked: frozenset[str]) -> Iterator[Passage]:
    chunk, known = scored.chunk, context(scored)
    parts = [_unmarked(chunk.text, span) for span in spans(chunk.text)]
    titles = {scored.document.title, *chunk.headings}
    headings = [
        chunk.text[slice(*part)] in titles
        or any(test(chunk.text, parts, i) for test in (_is_heading, _is_table_head, _introduces))
        for i, part in enumerate(parts)
    ]
    if all(headings):
        headings = [False] * len(parts)  # nothing but headings: then they are all there is to say
    terms = [frozenset(analyzer.terms(chunk.text[slice(*span)])) for span in parts]
    known_terms = frozenset(analyzer.terms(known))
    above = range(0)  # headings, one below the other
    for i, (start, end) in enumerate(parts):
        if headings[i]:
            above = range(above.start, i + 1) if above.stop == i else range(i, i + 1)
            continue
        if not terms[i] or (terms[i] <= asked and chunk.text[end - 1].isalnum()):
            continue  # a label that only repeats words of the question: it cannot answer
        text = chunk.text[start:end]
        known_above = frozenset[str]().union(*(terms[j] for j in above))
        joined = i > 0 and not headings[i - 1] and "\n" not in chunk.text[parts[i - 1][1] : start]
        yield Passage(
            source=number,
            doc_id=chunk.doc_id,
            start=chunk.start + start,
            end=chunk.start + end,
            text=text,
            embedded="\n".join(part for part in (known, _joined(chunk.text, parts, above), text) if part),
            # A figure says what its header says; a sentence says what it says.
            terms=terms[i] | known_above if is_figures(text) else terms[i],
            near=known_terms.union(known_above, *terms[max(0, i - 1) : i + 2]),
            previous=chunk.start + parts[i - 1][0] if joined else None,
        )


_MARK = re.compile(r"(?:[-*+•‣◦▪●–—]|\(?\d{1,2}[.)])\s+(?=[^\W\d_]\w*\s)(?!\w+ \d{4}\b)")
"""Of an item of a list, but not the day of "3. Oktober 1990"."""


def _unmarked(text: str, span: Span) -> Span:
    """A sentence without the mark of the item that it begins: in an answer its number counts nothing."""
    mark = _MARK.match(text, *span)
    return (mark.end(), span[1]) if mark else span


_PARAGRAPH_BREAK = re.compile(r"\n[^\S\n]*\n")
_NO_HEADING = re.compile(r"[.!?;,…。！？]$|: | \| |\t")


def _is_heading(text: str, parts: Sequence[Span], i: int) -> bool:
    """Whether part `i` is a short line without an end mark, alone between blank lines, with something below it."""
    start, end = parts[i]
    if i + 1 == len(parts) or _NO_HEADING.search(text, start, end) or len(text[start:end].split()) > MAX_HEADING_WORDS:
        return False
    above = text[parts[i - 1][1] : start] if i else "\n\n"
    below = text[end : parts[i + 1][0]]
    return bool(_PARAGRAPH_BREAK.search(above) and _PARAGRAPH_BREAK.search(below))


_LEAD_IN = re.compile(r"(?:[?？؟][\"'”’»)\]]*|[:：])$")


def _introduces(text: str, parts: Sequence[Span], i: int) -> bool:
    """Whether part `i` is a question or ends with a colon: no answer, it says what the sentences below are about."""
    return _LEAD_IN.search(text, *parts[i]) is not None and (i + 1 < len(parts) or text[parts[i][1] - 1] not in ":：")


def _joined(text: str, parts: Sequence[Span], above: range) -> str:
    return "\n".join(text[slice(*parts[j])] for j in above)[:MAX_ABOVE]


def _is_table_head(text: str, parts: Sequence[Span], i: int) -> bool:
    """Whether part `i` stands right above rows of figures: a line for each cell of a header, or a label among rows."""
    words = 0
    for (start, end), below in zip(parts[i:], parts[i + 1 :], strict=False):
        words += len(text[start:end].split())
        if (
            words > MAX_HEADER_WORDS
            or is_figures(text[start:end])
            or _NO_HEADING.search(text, start, end)
            or _PARAGRAPH_BREAK.search(text, end, below[0])
        ):
            return False
        if is_figures(text[slice(*below)]):
            return True
    return False

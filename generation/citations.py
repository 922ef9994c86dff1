"""Align what a model claims with the text that it cites, and verify it: no quote that is not verbatim gets out.

A claim's marker names a chunk. The quote is the tightest run of one or two sentences of that chunk that supports the
claim; it is cut from the stored document, never from the claim, so it cannot be "repaired" into agreement.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from generation.markers import Claim, plain
from generation.records import Citation, Sentence
from generation.sentences import Span, spans
from retrieval.analysis import Analyzer
from retrieval.errors import DocumentNotFound
from retrieval.ports import Embedder, Snapshot, Vectors
from retrieval.records import Chunk, Document, ScoredChunk

MIN_SUPPORT = 0.2
"""Below it a quote has nothing to do with the claim: the citation is dropped. With the evidence of another
claim, 97 of 100 claims of ExpertQA are below it; with their own, 77 of 100 of those that people found supported are
above it, and most of the rest have an address for evidence and no text."""

PAIR_GAIN = 0.1
"""A second sentence is quoted only when it adds this much support: the shorter quote is the better footnote."""


@dataclass(frozen=True, slots=True)
class Cited:
    """A sentence with what was verified for it, and how many of its markers were not."""

    sentence: Sentence
    dropped: int = 0


class Citer:
    """Turns the claims of one answer into verified sentences, against one snapshot. Not thread-safe: one per answer."""

    def __init__(
        self,
        chunks: Sequence[ScoredChunk],
        snapshot: Snapshot,
        *,
        embedder: Embedder,
        analyzer: Analyzer,
        chunk_at: Callable[[str, int], str] = lambda chunk_id, _offset: chunk_id,
    ) -> None:
        """`chunk_at` tells which chunk has an offset of the document, for sources that were joined of several."""
        self._chunk_at = chunk_at
        self._chunks = chunks
        self._snapshot = snapshot
        self._embedder = embedder
        self._analyzer = analyzer
        self._documents: dict[str, Document | None] = {}
        self._sources: dict[int, _Source | None] = {}

    def cite(self, claim: Claim) -> Cited:
        """The claim with its verified citations; the text is empty for markers without a sentence.

        A number that names no source and a source that does not support the claim are dropped and counted. Shared
        markers (see `Claim`) are tried but not counted: the model did not write them here.
        """
        if not claim.text:
            return Cited(Sentence(""), len(claim.sources))
        found = [self._citation(claim.text, number) for number in claim.sources or claim.shared]
        kept = tuple(dict.fromkeys(citation for citation in found if citation))
        dropped = sum(citation is None for citation in found) if claim.sources else 0
        return Cited(Sentence(claim.text, kept), dropped)

    def _citation(self, text: str, number: int) -> Citation | None:
        source = self._source(number)
        if source is None:
            return None
        span, score = source.best_span(text, embedder=self._embedder, analyzer=self._analyzer)
        if score < MIN_SUPPORT:
            return None
        return source.citation(span, score, chunk_at=self._chunk_at)

    def _source(self, number: int) -> "_Source | None":
        if number not in self._sources:
            self._sources[number] = self._open(number)
        return self._sources[number]

    def _open(self, number: int) -> "_Source | None":
        """The source of that number, if there is one and it is what the store holds."""
        if not 1 <= number <= len(self._chunks):
            return None
        chunk = self._chunks[number - 1].chunk
        if chunk.doc_id not in self._documents:
            try:
                self._documents[chunk.doc_id] = self._snapshot.document(chunk.doc_id)
            except DocumentNotFound:
                self._documents[chunk.doc_id] = None
        document = self._documents[chunk.doc_id]
        if document is None or document.version != chunk.version:
            return None
        return _Source(chunk, document) if document.text[chunk.start : chunk.end] == chunk.text else None


def support(text: str, quote: str, *, cosine: float, analyzer: Analyzer) -> float:
    """How far `quote` supports `text`, 0..1: 1 when the text is in it word for word.

    Otherwise half the share of the text's terms that the quote has, and half their cosine. A number of two digits or
    more that is in the text and not in the quote leaves less than `MIN_SUPPORT`, for a wrong figure is the worst of
    errors; a single digit, which may come from counting, takes half.
    """
    if contains(quote, text):
        return 1.0
    terms, quoted = set(analyzer.terms(text)), set(analyzer.terms(quote))
    coverage = len(terms & quoted) / len(terms) if terms else 0.0
    score = 0.5 * coverage + 0.5 * max(0.0, cosine)
    if missing := numbers(text) - numbers(quote):
        score /= 2 if max(map(len, missing)) == 1 else 1 / MIN_SUPPORT + 0.01
    return round(min(score, 0.99), 4)


def contains(quote: str, text: str) -> bool:
    """Whether `text` is in `quote` word for word; white space, markers and the end mark aside."""
    needle = plain(text).rstrip(_END_MARKS)
    where = plain(quote).find(needle) if needle else -1
    if where < 0:
        return False
    around = plain(quote)[max(0, where - 1) : where], plain(quote)[where + len(needle) :][:1]
    return not any(
        side.isalnum() and end.isalnum() and side.isascii()
        for side, end in ((around[0], needle[0]), (around[1], needle[-1]))
    )


def numbers(text: str) -> set[str]:
    """The numbers of a text: '1,200.50' is '1200.50', 'three' is '3'; the number of a list item is none."""
    found = {re.sub(r"(?<=\d)[, '’](?=\d{3}\b)", "", match[0]) for match in _NUMBER.finditer(_ITEM.sub("", text))}
    return found | {str(_WORDS.index(word)) for word in text.casefold().split() if word in _WORDS}


_END_MARKS = " .!?…。！？؟।"
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_ITEM = re.compile(r"^\s*\d{1,2}[.)]\s")
_NUMBER = re.compile(r"\d+(?:[., '’]\d{3})*(?:\.\d+)?")


class _Source:
    """A chunk that was checked against its document, cut into sentences; vectors are made when first needed."""

    def __init__(self, chunk: Chunk, document: Document) -> None:
        self._chunk = chunk
        self._document = document
        self._spans = spans(chunk.text)
        self._vectors: Vectors | None = None

    def best_span(self, text: str, *, embedder: Embedder, analyzer: Analyzer) -> tuple[Span, float]:
        """The span within the chunk that supports `text` best, and how far. ((0, 0), 0.0) for an empty chunk."""
        for span in (*self._spans, *self._pairs()):
            if contains(self._chunk.text[slice(*span)], text):
                return span, 1.0
        if not self._spans:
            return (0, 0), 0.0
        if self._vectors is None:
            self._vectors = embedder.embed_documents([self._chunk.text[slice(*span)] for span in self._spans])
        vector = embedder.embed_documents([text])[0]
        singles, pairs = self._vectors, _unit(self._vectors[:-1] + self._vectors[1:])

        def score(span: Span, cosine: float) -> float:
            return support(text, self._chunk.text[slice(*span)], cosine=cosine, analyzer=analyzer)

        best = max(
            ((score(span, float(row @ vector)), span) for span, row in zip(self._spans, singles, strict=True)),
            key=lambda item: item[0],
        )
        for span, row in zip(self._pairs(), pairs, strict=True):
            if (both := score(span, float(row @ vector))) > best[0] + PAIR_GAIN:
                best = (both, span)
        return best[1], best[0]

    def _pairs(self) -> list[Span]:
        return [(a[0], b[1]) for a, b in zip(self._spans, self._spans[1:], strict=False)]

    def citation(self, span: Span, score: float, *, chunk_at: Callable[[str, int], str]) -> Citation | None:
        """The citation of that span, cut from the document; None if it is not the text that was aligned."""
        start, end = self._chunk.start + span[0], self._chunk.start + span[1]
        quote = self._document.text[start:end]
        if quote != self._chunk.text[slice(*span)]:
            return None
        return Citation(
            doc_id=self._chunk.doc_id,
            source_uri=self._document.source_uri,
            title=self._document.title,
            version=self._chunk.version,
            chunk_id=chunk_at(self._chunk.chunk_id, start),
            start=start,
            end=end,
            page=self._document.page_at(start),
            quote=quote,
            support=score,
        )


def _unit(vectors: Vectors) -> Vectors:
    norms: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-9)).astype(np.float32)

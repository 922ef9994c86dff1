"""Why one document is, or is not, among the first k results of a query.

`inquire` asks the query once, explained, and compares the document's best chunk with the last result. What was no
candidate is compared with the last candidate of each search, by its exact score, and looked for further down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retrieval import clauses, filters, wording
from retrieval.clauses import Clause
from retrieval.explanation import CandidateTrace, Explanation
from retrieval.filters import Filter
from retrieval.ports import Snapshot
from retrieval.records import DocumentInfo, Retrieval, SourceRecord
from retrieval.retriever import Retriever, check_query

DEPTH = 10_000
"""How far down a chunk is looked for that is no candidate."""

Verdict = Literal["result", "outranked", "removed", "no-candidate", "filtered", "no-chunks", "deleted", "not-ingested"]
"""outranked: a candidate below the results; removed: a candidate that a limit or stage took out; no-candidate: no
search had it among its candidates; no-chunks: the edition holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of the ranking: the document's chunk there, and the last result beside it."""

    stage: str
    rank: int | None
    """None where the stage did not rank the chunk."""
    score: float | None
    last_rank: int | None
    """Of the last result; None where the stage did not rank it, or when the chunk itself is a result."""
    last_score: float | None


@dataclass(frozen=True, slots=True)
class Search:
    """One of the first searches, and the chunk of the document that it likes best."""

    stage: str
    """'lexical' or 'dense'."""
    chunk_id: str
    score: float
    """Exact."""
    rank: int | None
    """Among all chunks that pass the filter; None when it is not among the first `depth`."""
    depth: int
    """How many were looked at."""
    candidates: int
    """How many of them became candidates."""
    last_score: float | None
    """Of the last candidate; None when there are none."""
    missed: bool
    """Whether it should have been a candidate: the search is approximate, and did not come across it."""


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the query, and what it adds here and there."""

    term: str
    idf: float
    chunks: int
    """How many of the collection hold it."""
    adds: float
    """To the BM25 score of the document's chunk; 0 when that does not hold it."""
    last_adds: float
    """The same of the last result; 0 when the document's chunk is a result itself."""
    elsewhere: bool
    """Whether another chunk of the document holds it."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The answer to 'why is this document where it is?'"""

    query: str
    """As it was searched for."""
    k: int
    verdict: Verdict
    sentences: tuple[str, ...]
    """The answer in words."""
    document: DocumentInfo | None = None
    source: SourceRecord | None = None
    """The ledger's line."""
    clauses: tuple[Clause, ...] = ()
    """Parts of the filter that the document does not pass; all else is then as without the filter."""
    chunk: CandidateTrace | None = None
    """The document's chunk that came furthest; None when none is a candidate."""
    last: CandidateTrace | None = None
    """The result of the lowest score, which it would have to outrank; None when it is one itself, or there are none."""
    steps: tuple[Step, ...] = ()
    searches: tuple[Search, ...] = ()
    terms: tuple[Term, ...] = ()
    """Rarest first."""
    candidates: tuple[CandidateTrace, ...] = ()
    """All of the document's."""
    notes: tuple[str, ...] = ()
    """What did not go as configured."""


def inquire(
    retriever: Retriever,
    snapshot: Snapshot,
    query: str,
    document: DocumentInfo,
    *,
    source: SourceRecord | None = None,
    k: int = 8,
    filter: Filter | None = None,
) -> Inquiry:
    """Why `document` of `snapshot` is, or is not, among the first `k` results. Raises what `retrieve` raises."""
    check_query(query, k)
    if filter is not None:
        filters.check_fields(filter, snapshot.info.fields)
    refusing = () if filter is None else clauses.refusing(filter, document)
    passing = None if refusing else filter
    found = retriever.retrieve(query, k=k, filter=passing, snapshot=snapshot, explain=True)
    explanation = found.explanation or Explanation((), (), ())
    candidates = explanation.of_document(document.doc_id)
    chunk = candidates[0] if candidates else None
    results = [trace for trace in explanation.candidates if trace.rank is not None]
    last = None if chunk and chunk.rank else min(reversed(results), key=lambda one: one.score or 0.0, default=None)
    chunks = _Chunks(snapshot, document.doc_id, explanation)
    searches = _searches(snapshot, found, explanation, chunks, passing)
    steps = tuple(_step(stage, chunk, last) for stage in explanation.stages) if chunk else ()
    verdict: Verdict = _verdict(chunk) if chunks.ids else "no-chunks"
    shown = chunk.chunk_id if chunk else searches[0].chunk_id if searches else ""
    answer = Inquiry(
        query=found.plan.query,
        k=k,
        verdict="filtered" if refusing else verdict,
        sentences=(),
        document=document,
        source=source,
        clauses=refusing,
        chunk=chunk,
        last=last,
        steps=steps,
        searches=searches,
        terms=_terms(explanation, chunks, shown, last),
        candidates=candidates,
        notes=found.notes,
    )
    return replace(answer, sentences=wording.sentences(answer, verdict, len(results)))


def absent(query: str, source: SourceRecord, *, k: int) -> Inquiry:
    """Why a source that the ledger knows is no document."""
    verdict: Verdict = "deleted" if source.status == "deleted" else "not-ingested"
    return Inquiry(query=query, k=k, verdict=verdict, sentences=(wording.absence(source),), source=source)


class _Chunks:
    """The chunks of a document in this edition, and what the terms of the query add to each."""

    def __init__(self, snapshot: Snapshot, doc_id: str, explanation: Explanation) -> None:
        self.weights = {term.term: term.weight for term in explanation.terms}
        self.ids: list[str] = []
        for contents in snapshot.contents([doc_id]):
            self.ids = [chunk.chunk_id for chunk in contents.chunks]
        self.vectors = snapshot.vectors(self.ids)
        self.by_term: NDArray[np.float64] = snapshot.term_scores(self.weights, self.ids).scores


def _verdict(chunk: CandidateTrace | None) -> Verdict:
    if chunk is None:
        return "no-candidate"
    if chunk.rank is not None:
        return "result"
    return "outranked" if chunk.removed_by == "k" else "removed"


def _step(stage: str, chunk: CandidateTrace, last: CandidateTrace | None) -> Step:
    rank, score = _at(chunk, stage)
    last_rank, last_score = _at(last, stage) if last else (None, None)
    return Step(stage, rank, score, last_rank, last_score)


def _at(trace: CandidateTrace, stage: str) -> tuple[int | None, float | None]:
    return next(((one.rank, one.score) for one in trace.stages if one.stage == stage), (None, None))


def _searches(
    snapshot: Snapshot, found: Retrieval, explanation: Explanation, chunks: _Chunks, filter: Filter | None
) -> tuple[Search, ...]:
    if not chunks.ids:
        return ()
    exact: Mapping[str, NDArray[np.float64]] = {
        "lexical": chunks.by_term.sum(axis=1),
        "dense": chunks.vectors.astype(np.float64) @ found.query_vector.astype(np.float64),
    }
    return tuple(
        _search(stage, snapshot, found, explanation, chunks, scores, filter)
        for stage, scores in exact.items()
        if stage in explanation.stages
    )


def _search(
    stage: str,
    snapshot: Snapshot,
    found: Retrieval,
    explanation: Explanation,
    chunks: _Chunks,
    scores: NDArray[np.float64],
    filter: Filter | None,
) -> Search:
    best = int(np.argmax(np.round(scores, 6)))
    chunk_id, score = chunks.ids[best], round(float(scores[best]), 6)
    ranked = {trace.chunk_id: one for trace in explanation.candidates for one in trace.stages if one.stage == stage}
    rank, depth = ranked[chunk_id].rank if chunk_id in ranked else None, len(ranked)
    last_score = min((one.score for one in ranked.values()), default=None)
    if rank is None and (stage == "dense" or score > 0.0):
        if stage == "dense":
            hits = snapshot.search_dense(found.query_vector, k=DEPTH, filter=filter)
        else:
            hits = snapshot.search_lexical(chunks.weights, k=DEPTH, filter=filter)
        depth = len(hits)
        rank = next((place for place, hit in enumerate(hits, start=1) if hit.chunk_id == chunk_id), None)
    # One digit less than scores have: the last one depends on the order of addition.
    missed = chunk_id not in ranked and last_score is not None and score > last_score + 1e-5
    return Search(stage, chunk_id, score, rank, depth, len(ranked), last_score, missed)


def _terms(explanation: Explanation, chunks: _Chunks, chunk_id: str, last: CandidateTrace | None) -> tuple[Term, ...]:
    """By `chunk_id`, the chunk that the document is judged by; empty when it has none."""
    terms: list[Term] = []
    row: int | None = chunks.ids.index(chunk_id) if chunk_id in chunks.ids else None
    for column, term in enumerate(explanation.terms):
        added: Sequence[float] = chunks.by_term[:, column].tolist()
        terms.append(
            Term(
                term=term.term,
                idf=term.idf,
                chunks=term.chunks,
                adds=0.0 if row is None else round(added[row], 6),
                last_adds=last.terms.get(term.term, 0.0) if last else 0.0,
                elsewhere=any(value > 0.0 for place, value in enumerate(added) if place != row),
            )
        )
    return tuple(sorted(terms, key=lambda one: (-one.idf, one.term)))

"""Asks a retriever the queries of a test collection and scores what it answers."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evals.datasets import Qrel, Query
from evals.metrics import Scores, evaluate
from evals.runs import RankedScore, Rankings
from retrieval.errors import InvalidQuery, InvalidRequest
from retrieval.explanation import Explanation
from retrieval.ports import Snapshot
from retrieval.records import Retrieval, ScoredChunk
from retrieval.retriever import MAX_QUERY_CHARACTERS, Retriever
from retrieval.settings import RetrievalSettings

DEPTH = 100
"""Chunks retrieved per query; their documents are scored. The depth of the first stage stays the configured one."""
SPARE = 20
"""Chunks retrieved beyond that when the query is a document of the corpus, whose own chunks are left out."""
TOP = 10
"""Results per query whose titles are kept."""


@dataclass(frozen=True, slots=True)
class ModeResult:
    """One mode's run over all queries."""

    mode: str
    settings: RetrievalSettings
    scores: Scores
    rankings: Rankings
    p50: float
    """Seconds of `Retriever.retrieve`, median."""
    p95: float
    titles: Mapping[str, str] = field(default_factory=dict)
    """By doc_id, of the first results."""
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    """By query_id, when they were asked for."""


def measure(
    mode: str,
    retriever: Retriever,
    *,
    snapshot: Snapshot,
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
    own: Collection[str] = (),
    explain: bool = False,
) -> ModeResult:
    """Rank the documents of `snapshot` for each query. A document's rank is that of its best chunk.

    `own` are query_ids whose document of the same id is left out of their ranking; `explain` keeps why each ranking is
    as it is, and costs time that is measured too. Raises InvalidRequest for a query that cannot be asked, and what the
    retriever raises.
    """
    seconds: list[float] = []
    rankings: dict[str, list[RankedScore]] = {}
    titles: dict[str, str] = {}
    explanations: dict[str, Explanation] = {}
    judged: dict[str, set[str]] = {}
    for qrel in qrels:
        judged.setdefault(qrel.query_id, set()).add(qrel.doc_id)
    for number, query in enumerate(queries):
        query_id = query.query_id
        if not number:
            _ask(retriever, query, 1, snapshot, explain)  # loads the model; not measured
        begin = time.perf_counter()
        found = _ask(retriever, query, DEPTH + SPARE if query_id in own else DEPTH, snapshot, explain)
        seconds.append(time.perf_counter() - begin)
        chunks = [one for one in found.chunks if query_id not in own or one.chunk.doc_id != query_id][:DEPTH]
        rankings[query_id] = _scored(query_id, chunks)
        shown = {one.doc_id for one in rankings[query_id][:TOP]}
        titles |= {one.chunk.doc_id: one.document.title for one in chunks if one.chunk.doc_id in shown}
        if found.explanation is not None:
            explanations[query_id] = _shortened(found.explanation, shown | judged.get(query_id, set()))
    doc_ids = {query_id: [found.doc_id for found in ranking] for query_id, ranking in rankings.items()}
    return ModeResult(
        mode=mode,
        settings=retriever.settings,
        scores=evaluate(qrels, doc_ids),
        rankings=rankings,
        p50=float(np.percentile(seconds, 50)),
        p95=float(np.percentile(seconds, 95)),
        titles=titles,
        explanations=explanations,
    )


def _ask(retriever: Retriever, query: Query, k: int, snapshot: Snapshot, explain: bool) -> Retrieval:
    try:
        return retriever.retrieve(query.text[:MAX_QUERY_CHARACTERS], k=k, snapshot=snapshot, explain=explain)
    except InvalidQuery as exc:
        raise InvalidRequest(f"query {query.query_id!r}: {exc}") from exc


def _scored(query_id: str, chunks: Sequence[ScoredChunk]) -> list[RankedScore]:
    """The documents of `chunks`, best first, each with the score of its best chunk."""
    best: dict[str, float] = {}
    for found in chunks:
        if not math.isfinite(found.score):
            raise InvalidRequest(
                f"query {query_id!r}: chunk {found.chunk.chunk_id!r} has the score {found.score!r}; a ranking needs "
                "finite scores: look at the reranker and the embedder"
            )
        best.setdefault(found.chunk.doc_id, found.score)
    return [RankedScore(doc_id, score) for doc_id, score in best.items()]


def _shortened(explanation: Explanation, doc_ids: Collection[str]) -> Explanation:
    """With the candidates of the documents that anybody will look for: the first ones and the judged ones."""
    kept = tuple(trace for trace in explanation.candidates if trace.doc_id in doc_ids)
    return replace(explanation, candidates=kept)

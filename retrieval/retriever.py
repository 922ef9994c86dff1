"""The path of one query: plan, rank, rerank, thin out, fetch. `retrieval.ranking` has the stages that rank."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext

from retrieval import filters, fusion
from retrieval.errors import InvalidQuery, RerankerError
from retrieval.filters import Filter
from retrieval.ports import Embedders, QueryPlanner, Reranker, SearchView, Snapshot, VectorStore
from retrieval.ranking import Chunks, Ranker, Ranking
from retrieval.records import Hit, QueryPlan, Retrieval, ScoredChunk, Turn
from retrieval.settings import RetrievalSettings
from retrieval.thinning import thin
from retrieval.trace import Trace

MAX_K = 1_000
MAX_QUERY_CHARACTERS = 10_000
_log = logging.getLogger(__name__)
_GREATEST_SCORE = 3.5e38  # a 32-bit float's


class Retriever:
    """Ranks the chunks of one collection for a query. Thread-safe."""

    def __init__(
        self,
        store: VectorStore,
        embedders: Embedders,
        settings: RetrievalSettings,
        *,
        reranker: Reranker | None = None,
        planner: QueryPlanner | None = None,
    ) -> None:
        """Without a `reranker` the order of the first stage stands; without a `planner` the query is taken as it is."""
        self.store = store
        self.embedders = embedders
        self.settings = settings
        self._ranker = Ranker(embedders, settings)
        self._reranker = reranker
        self._planner = planner

    def retrieve(
        self,
        query: str,
        *,
        k: int = 8,
        filter: Filter | None = None,
        snapshot: Snapshot | None = None,
        history: Sequence[Turn] = (),
        explain: bool = False,
    ) -> Retrieval:
        """The k best chunks, best first, out of those the filter lets through.

        `history` is what was said before in the conversation, oldest first: the planner makes the query complete with
        it. With `explain`, every candidate's way is told. Everything comes from `snapshot`, or from one opened for this
        call. Raises InvalidQuery, UnknownField, EmbedderMismatch, EmbedderUnavailable, RerankerError.
        """
        check_query(query, k)
        with nullcontext(snapshot) if snapshot else self.store.snapshot() as view:
            info = view.info
            if filter and info.documents:
                filters.check_fields(filter, info.fields)
            trace = Trace()
            chunks = Chunks(view, trace)
            plan = self._plan(query, history, info.language, trace)
            ranking = self._ranked(view, plan, k, filter, chunks, trace)
            hits = self._reranked(view, plan.query, ranking.hits, chunks, trace)
            hits = thin(view, hits, k=k, settings=self.settings, read=chunks.read, trace=trace)
            results = _scored(hits, chunks, trace)
            return Retrieval(
                query=query,
                query_vector=ranking.vector,
                chunks=results,
                timings=trace.seconds,
                plan=plan,
                explanation=trace.explain(view, results) if explain else None,
                notes=tuple(trace.notes),
            )

    def _plan(self, query: str, history: Sequence[Turn], language: str, trace: Trace) -> QueryPlan:
        if self._planner is None:
            return QueryPlan(query)
        with trace.stage("plan"):
            plan = self._planner.plan(query, history=history, language=language)
        if plan.note:
            trace.notes.append(plan.note)
        return plan

    def _ranked(
        self, view: SearchView, plan: QueryPlan, k: int, filter: Filter | None, chunks: Chunks, trace: Trace
    ) -> Ranking:
        """Of a question of several parts, the rankings of the whole and of each part are fused by rank."""
        depth = max(k, self.settings.candidates)
        whole = self._ranker.rank(view, plan.query, depth=depth, filter=filter, chunks=chunks, trace=trace)
        if not plan.parts:
            return whole
        rankings = [whole.hits]
        for number, part in enumerate(plan.parts, start=1):
            inner = Trace()
            rankings.append(self._ranker.rank(view, part, depth=depth, filter=filter, chunks=chunks, trace=inner).hits)
            trace.include(inner, f"part {number}", rankings[-1])
        hits = fusion.rrf(rankings, rank_constant=self.settings.rank_constant)
        trace.ranked("parts", hits)
        return Ranking(whole.vector, hits)

    def _reranked(self, view: SearchView, query: str, hits: list[Hit], chunks: Chunks, trace: Trace) -> list[Hit]:
        """The first of the hits in the order of the reranker, when there is one."""
        if self._reranker is None or not hits or self.settings.rerank_weight == 0.0:
            return hits
        head = [hit.chunk_id for hit in hits[: self.settings.rerank_candidates]]
        try:
            with trace.stage("rerank"):
                scores = self._reranker.rerank(query, chunks.read(head), snapshot=view)
                _check_scores(self._reranker.name, scores, len(head))
        except RerankerError as exc:
            if self.settings.rerank_required:
                raise
            # Notes go to callers, whom addresses and what servers say do not concern.
            _log.warning("not reranked: %s", exc)
            trace.notes.append(f"not reranked: {self._reranker.name!r} failed; the log has the reason")
            return hits
        trace.ranked("rerank", fusion.ranked(dict(zip(head, scores, strict=True))))
        blended = fusion.blend(hits, [(self.settings.rerank_weight, scores)])
        trace.ranked("reranked", blended)
        return blended


def check_query(query: str, k: int) -> None:
    """Raise InvalidQuery for what no store could answer."""
    if not query.strip():
        raise InvalidQuery("the query is empty; ask something")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidQuery(f"the query has {len(query):,} characters, at most {MAX_QUERY_CHARACTERS:,}; shorten it")
    if not 1 <= k <= MAX_K:
        raise InvalidQuery(f"k = {k!r}: ask for 1 to {MAX_K:,} results")


def _check_scores(name: str, scores: Sequence[float], expected: int) -> None:
    """A score that is no number would sort anywhere."""
    if len(scores) != expected:
        raise RerankerError(
            f"{name} gave {len(scores)} scores for {expected} chunks; look at its log, or switch it off"
        )
    # Squares of larger ones would overflow; no model's arithmetic gives them. Comparing lets no NaN pass.
    if odd := [score for score in scores if not abs(score) <= _GREATEST_SCORE]:
        raise RerankerError(f"{name} gave the score {odd[0]!r}; look at its log, or switch it off")


def _scored(hits: Sequence[Hit], chunks: Chunks, trace: Trace) -> tuple[ScoredChunk, ...]:
    chunk_ids = [hit.chunk_id for hit in hits]
    stages = trace.scores(chunk_ids)
    return tuple(
        ScoredChunk(found.chunk, found.document, hit.score, stages[hit.chunk_id])
        for hit, found in zip(hits, chunks.read(chunk_ids), strict=True)
    )

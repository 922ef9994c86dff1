"""The path of one query: embed, search both ways, feed back, fuse, fetch. Read it top to bottom."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from retrieval import feedback, filters, fusion
from retrieval.analysis import analyzer
from retrieval.errors import InvalidQuery
from retrieval.filters import Filter
from retrieval.ports import Embedders, Snapshot, Vectors, VectorStore
from retrieval.records import Hit, Retrieval, ScoredChunk
from retrieval.settings import RetrievalSettings

MAX_K = 1_000
MAX_QUERY_CHARACTERS = 10_000


class Retriever:
    """Ranks the chunks of one collection for a query. Thread-safe."""

    def __init__(self, store: VectorStore, embedders: Embedders, settings: RetrievalSettings) -> None:
        self.store = store
        self.embedders = embedders
        self.settings = settings

    def retrieve(
        self, query: str, *, k: int = 8, filter: Filter | None = None, snapshot: Snapshot | None = None
    ) -> Retrieval:
        """The k best chunks, best first, out of those the filter lets through.

        Everything comes from `snapshot`, or from one opened for this call. Raises InvalidQuery, UnknownField,
        EmbedderMismatch.
        """
        check_query(query, k)
        with nullcontext(snapshot) if snapshot else self.store.snapshot() as view:
            return self._retrieve(view, query, k, filter)

    def _retrieve(self, snapshot: Snapshot, query: str, k: int, filter: Filter | None) -> Retrieval:
        info = snapshot.info
        if filter and info.documents:
            filters.check_fields(filter, info.fields)
        watch = _Watch()
        with watch.stage("embed"):
            # The edition says which model: after a switch, the first query that sees it embeds as it does.
            vector = self.embedders.of(info.embedder).embed_queries([query])[0]
        terms = {term: float(count) for term, count in Counter(analyzer(info.language).terms(query)).items()}
        rankings = self._search(
            snapshot, vector, terms, depth=max(k, self.settings.candidates), filter=filter, watch=watch
        )
        with watch.stage("fuse"):
            fused = self._fuse(rankings)[:k]
        with watch.stage("fetch"):
            chunks = _fetch(snapshot, fused, rankings)
        return Retrieval(query=query, query_vector=vector, chunks=chunks, timings=watch.seconds)

    def _search(
        self,
        snapshot: Snapshot,
        vector: Vectors,
        terms: Mapping[str, float],
        *,
        depth: int,
        filter: Filter | None,
        watch: "_Watch",
    ) -> dict[str, list[Hit]]:
        """Rankings by the name of their stage."""
        rankings: dict[str, list[Hit]] = {}
        if self.settings.mode != "dense":
            with watch.stage("lexical"):
                rankings["lexical"] = snapshot.search_lexical(terms, k=depth, filter=filter)
        if self.settings.mode != "lexical":
            with watch.stage("dense"):
                rankings["dense"] = snapshot.search_dense(vector, k=depth, filter=filter)
        if self.settings.mode == "hybrid" and self.settings.feedback_weight > 0.0:
            with watch.stage("feedback"):
                first = [hit.chunk_id for hit in self._fuse(rankings)[: self.settings.feedback_chunks]]
                moved = feedback.rocchio(vector, snapshot.vectors(first), weight=self.settings.feedback_weight)
                rankings["dense"] = snapshot.search_dense(moved, k=depth, filter=filter)
        return rankings

    def _fuse(self, rankings: Mapping[str, Sequence[Hit]]) -> list[Hit]:
        if len(rankings) == 1:
            return list(*rankings.values())
        if self.settings.fusion == "rrf":
            return fusion.rrf([*rankings.values()], rank_constant=self.settings.rank_constant)
        share = {"dense": self.settings.dense_weight, "lexical": 1.0 - self.settings.dense_weight}
        weights = [share[stage] for stage in rankings]
        return fusion.convex([*rankings.values()], weights, normalization=self.settings.normalization)


def check_query(query: str, k: int) -> None:
    """Raise InvalidQuery for what no store could answer."""
    if not query.strip():
        raise InvalidQuery("the query is empty; ask something")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidQuery(f"the query has {len(query):,} characters, at most {MAX_QUERY_CHARACTERS:,}; shorten it")
    if not 1 <= k <= MAX_K:
        raise InvalidQuery(f"k = {k!r}: ask for 1 to {MAX_K:,} results")


def _fetch(snapshot: Snapshot, fused: Sequence[Hit], rankings: Mapping[str, Sequence[Hit]]) -> tuple[ScoredChunk, ...]:
    stored = {found.chunk.chunk_id: found for found in snapshot.chunks([hit.chunk_id for hit in fused])}
    by_stage = {stage: {hit.chunk_id: hit.score for hit in ranking} for stage, ranking in rankings.items()}
    return tuple(
        ScoredChunk(
            chunk=stored[hit.chunk_id].chunk,
            document=stored[hit.chunk_id].document,
            score=hit.score,
            stages={stage: scores[hit.chunk_id] for stage, scores in by_stage.items() if hit.chunk_id in scores},
        )
        for hit in fused
    )


class _Watch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin

"""One text against one view of a collection, down to one ranking of its candidates: search, fuse, compare, feed back.

Read `Ranker.rank` top to bottom; each stage can be switched off by its setting. docs/ranking.md has what each brings.
"""

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval import feedback, fusion
from retrieval.analysis import analyzer
from retrieval.filters import Filter
from retrieval.ports import Embedders, SearchView, Vectors
from retrieval.queries import identifiers
from retrieval.records import Hit, StoredChunk, adjacent_ids
from retrieval.rerankers import late_interaction
from retrieval.rerankers.late_interaction import LateInteractionReranker
from retrieval.settings import RetrievalSettings
from retrieval.trace import Trace


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What one text found."""

    vector: Vectors
    """Shape (dimension,), of the text, before any feedback."""
    hits: list[Hit]
    """Best first; scores compare within this ranking only."""


class Ranker:
    """The first stage, with what needs no model but the encoder. Thread-safe."""

    def __init__(self, embedders: Embedders, settings: RetrievalSettings) -> None:
        self._embedders = embedders
        self._settings = settings
        self._late = LateInteractionReranker(embedders)

    def rank(
        self, view: SearchView, text: str, *, depth: int, filter: Filter | None, chunks: "Chunks", trace: Trace
    ) -> Ranking:
        """The candidates of `text`: up to `depth` of each search, as one ranking."""
        info = view.info
        # The edition says which model: after a switch, the first query that sees it embeds as it does.
        with trace.stage("embed"):
            embedder = self._embedders.of(info.embedder)
            vector = embedder.embed_queries([text])[0]
        terms = self._terms(text, info.language)
        trace.terms = terms
        rankings = self._search(view, vector, terms, depth=depth, filter=filter, trace=trace)
        late = self._late if late_interaction.comparing(embedder, info.edition) else None
        signals = _Signals(late, view, text, self._settings, chunks, trace)
        hits = self._combined(rankings, depth, signals, trace)
        if "dense" in rankings and self._settings.mode == "hybrid" and self._settings.feedback_weight > 0.0:
            with trace.stage("feedback"):
                first = [hit.chunk_id for hit in hits[: self._settings.feedback_chunks]]
                moved = feedback.rocchio(vector, view.vectors(first), weight=self._settings.feedback_weight)
                rankings["dense"] = view.search_dense(moved, k=depth, filter=filter)
                trace.ranked("feedback", rankings["dense"])
            hits = self._combined(rankings, depth, signals, trace)
        if self._settings.neighbour_weight > 0.0:
            with trace.stage("neighbours"):
                near = {hit.chunk_id: adjacent_ids(hit.chunk_id) for hit in hits}
                hits = fusion.neighbours(hits, near, weight=self._settings.neighbour_weight)
                trace.ranked("neighbours", hits)
        return Ranking(vector, hits)

    def _terms(self, text: str, language: str) -> dict[str, float]:
        """The terms of `text` with how often they are in it; the whole of an identifier counts more than its parts.

        Else `s3:GetObjectAcl` may come before `s3:GetObject`: it has a part of it, and more of the other words.
        """
        analysed = analyzer(language)
        whole = identifiers.exact_terms(text, analysed)
        counts = Counter(analysed.terms(text))
        return {
            term: count * (self._settings.identifier_weight if term in whole else 1.0) for term, count in counts.items()
        }

    def _search(
        self,
        view: SearchView,
        vector: Vectors,
        terms: Mapping[str, float],
        *,
        depth: int,
        filter: Filter | None,
        trace: Trace,
    ) -> dict[str, list[Hit]]:
        """Rankings by the name of their stage."""
        rankings: dict[str, list[Hit]] = {}
        if self._settings.mode != "dense":
            with trace.stage("lexical"):
                rankings["lexical"] = view.search_lexical(terms, k=depth, filter=filter)
                trace.ranked("lexical", rankings["lexical"])
        if self._settings.mode != "lexical":
            with trace.stage("dense"):
                rankings["dense"] = view.search_dense(vector, k=depth, filter=filter)
                trace.ranked("dense", rankings["dense"])
        return rankings

    def _combined(
        self, rankings: Mapping[str, Sequence[Hit]], depth: int, signals: "_Signals", trace: Trace
    ) -> list[Hit]:
        with trace.stage("fuse"):
            hits = self._fuse(rankings, depth)
            trace.ranked("fused", hits)
        return signals.blend(hits)

    def _fuse(self, rankings: Mapping[str, Sequence[Hit]], depth: int) -> list[Hit]:
        if len(rankings) == 1:
            return list(*rankings.values())
        if self._settings.fusion == "rrf":
            return fusion.rrf([*rankings.values()], rank_constant=self._settings.rank_constant)
        dense, lexical = rankings["dense"], rankings["lexical"]
        if len(lexical) < depth:  # it has found all that hold a term; the others are known to score 0
            lexical = fusion.with_zeros(lexical, dense)
        weights = [1.0 - self._settings.dense_weight, self._settings.dense_weight]
        return fusion.convex([lexical, dense], weights, normalization=self._settings.normalization)


class Chunks:
    """The chunks of one query, each read once."""

    def __init__(self, view: SearchView, trace: Trace) -> None:
        self._view = view
        self._trace = trace
        self._known: dict[str, StoredChunk] = {}

    def read(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        """In the order given."""
        if missing := [chunk_id for chunk_id in chunk_ids if chunk_id not in self._known]:
            with self._trace.stage("fetch"):
                self._known.update((found.chunk.chunk_id, found) for found in self._view.chunks(missing))
        return [self._known[chunk_id] for chunk_id in chunk_ids]


class _Signals:
    """What the first results are compared with the text by, besides fusion: their token vectors and their titles.

    Candidates that come again in the second round are not compared twice.
    """

    def __init__(
        self,
        ranker: LateInteractionReranker | None,
        view: SearchView,
        text: str,
        settings: RetrievalSettings,
        chunks: Chunks,
        trace: Trace,
    ) -> None:
        self._late = ranker
        self._view = view
        self._text = text
        self._settings = settings
        self._chunks = chunks
        self._trace = trace
        self._compared: dict[str, tuple[float, int]] = {}
        self._titled: dict[str, float] = {}

    @functools.cached_property
    def _idf(self) -> Mapping[str, float]:
        return late_interaction.idf_of(self._text, self._view)

    def blend(self, hits: list[Hit]) -> list[Hit]:
        """The first `late_candidates` in a new order."""
        head = [hit.chunk_id for hit in hits[: self._settings.late_candidates]]
        signals: list[tuple[float, Sequence[float]]] = []
        if self._late and self._settings.late_weight > 0.0:
            signals.append((self._settings.late_weight, self._late_scores(head)))
        if self._settings.title_weight > 0.0:
            signals.append((self._settings.title_weight, self._title_scores(head)))
        if not signals:
            return hits
        blended = fusion.blend(hits, signals)
        self._trace.ranked("blended", blended)
        return blended

    def _late_scores(self, head: Sequence[str]) -> list[float]:
        assert self._late is not None  # noqa: S101 - the caller has looked
        with self._trace.stage("late"):
            missing = [chunk_id for chunk_id in head if chunk_id not in self._compared]
            found = self._late.similarities(self._text, missing, snapshot=self._view, idf=self._idf)
            self._compared.update(zip(missing, found, strict=True))
            compared = [self._compared[chunk_id] for chunk_id in head]
            similarities = [similarity for similarity, _ in compared]
            self._trace.ranked("late", fusion.ranked(dict(zip(head, similarities, strict=True))))
            return late_interaction.combined(similarities, [size for _, size in compared])

    def _title_scores(self, head: Sequence[str]) -> list[float]:
        """How much of the query stands in a chunk's title and headings: the share of its terms, by idf, 0..1."""
        with self._trace.stage("title"):
            total = math.fsum(self._idf.values()) or 1.0
            analysed = analyzer(self._view.info.language)
            missing = [chunk_id for chunk_id in head if chunk_id not in self._titled]
            for chunk_id, found_chunk in zip(missing, self._chunks.read(missing), strict=True):
                held = self._idf.keys() & set(analysed.terms(found_chunk.chunk.context))
                # fsum, for a set has no order: equal shares must be equal to the last bit.
                self._titled[chunk_id] = math.fsum(self._idf[term] for term in held) / total
            scores = [self._titled[chunk_id] for chunk_id in head]
            self._trace.ranked("title", fusion.ranked(dict(zip(head, scores, strict=True))))
            return scores

"""One text against one view of a collection, down to one ranking of its candidates: search, fuse, compare, feed back.

Read `Ranker.rank` top to bottom; each stage can be switched off by its setting. docs/ranking.md has what each brings.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval import feedback, fusion
from retrieval.analysis import analyzer
from retrieval.filters import Filter
from retrieval.ports import Embedders, SearchView, TokenEmbedder, Vectors
from retrieval.records import Hit, adjacent_ids
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

    def rank(self, view: SearchView, text: str, *, depth: int, filter: Filter | None, trace: Trace) -> Ranking:
        """The candidates of `text`: up to `depth` of each search, as one ranking."""
        # The edition says which model: after a switch, the first query that sees it embeds as it does.
        with trace.stage("embed"):
            embedder = self._embedders.of(view.info.embedder)
            vector = embedder.embed_queries([text])[0]
        terms = {term: float(count) for term, count in Counter(analyzer(view.info.language).terms(text)).items()}
        trace.terms = terms
        rankings = self._search(view, vector, terms, depth=depth, filter=filter, trace=trace)
        late = _Late(self._late, view, text, self._settings, trace) if self._compares(view, embedder) else None
        hits = self._combined(rankings, late, trace)
        if "dense" in rankings and self._settings.mode == "hybrid" and self._settings.feedback_weight > 0.0:
            with trace.stage("feedback"):
                first = [hit.chunk_id for hit in hits[: self._settings.feedback_chunks]]
                moved = feedback.rocchio(vector, view.vectors(first), weight=self._settings.feedback_weight)
                rankings["dense"] = view.search_dense(moved, k=depth, filter=filter)
                trace.ranked("feedback", rankings["dense"])
            hits = self._combined(rankings, late, trace)
        if self._settings.neighbour_weight > 0.0:
            with trace.stage("neighbours"):
                near = {hit.chunk_id: adjacent_ids(hit.chunk_id) for hit in hits}
                hits = fusion.neighbours(hits, near, weight=self._settings.neighbour_weight)
                trace.ranked("neighbours", hits)
        return Ranking(vector, hits)

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

    def _combined(self, rankings: Mapping[str, Sequence[Hit]], late: "_Late | None", trace: Trace) -> list[Hit]:
        with trace.stage("fuse"):
            hits = self._fuse(rankings)
            trace.ranked("fused", hits)
        return late.blend(hits) if late else hits

    def _fuse(self, rankings: Mapping[str, Sequence[Hit]]) -> list[Hit]:
        if len(rankings) == 1:
            return list(*rankings.values())
        if self._settings.fusion == "rrf":
            return fusion.rrf([*rankings.values()], rank_constant=self._settings.rank_constant)
        share = {"dense": self._settings.dense_weight, "lexical": 1.0 - self._settings.dense_weight}
        weights = [share[stage] for stage in rankings]
        return fusion.convex([*rankings.values()], weights, normalization=self._settings.normalization)

    def _compares(self, view: SearchView, embedder: object) -> bool:
        """Whether there are token vectors to compare with, and anybody wants it."""
        kept = bool(view.info.edition.token_code) and isinstance(embedder, TokenEmbedder)
        return kept and self._settings.late_weight > 0.0


class _Late:
    """Late interaction for one text: candidates that come again in the second round are not compared twice."""

    def __init__(
        self, reranker: LateInteractionReranker, view: SearchView, text: str, settings: RetrievalSettings, trace: Trace
    ) -> None:
        self._reranker = reranker
        self._view = view
        self._text = text
        self._settings = settings
        self._trace = trace
        self._known: dict[str, tuple[float, int]] = {}

    def blend(self, hits: list[Hit]) -> list[Hit]:
        """The first `late_candidates` in a new order."""
        with self._trace.stage("late"):
            head = [hit.chunk_id for hit in hits[: self._settings.late_candidates]]
            missing = [chunk_id for chunk_id in head if chunk_id not in self._known]
            found = self._reranker.similarities(self._text, missing, snapshot=self._view)
            self._known.update(zip(missing, found, strict=True))
            similarities, sizes = [self._known[c][0] for c in head], [self._known[c][1] for c in head]
            self._trace.ranked("late", fusion.ranked(dict(zip(head, similarities, strict=True))))
            scores = late_interaction.combined(similarities, sizes)
            blended = fusion.blend(hits, scores, weight=self._settings.late_weight)
            self._trace.ranked("blended", blended)
        return blended

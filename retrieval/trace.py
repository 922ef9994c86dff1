"""What happened to the candidates of one query: kept while it is ranked, read when somebody asks why."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from retrieval.explanation import CandidateTrace, Explanation, QueryTerm, StageScore
from retrieval.ports import SearchView
from retrieval.records import Hit, ScoredChunk, TermScores, doc_id_of

_DECIMALS = 6


class Trace:
    """Rankings by stage, what was removed and why, seconds by stage. It keeps references, so it costs next to nothing.

    A stage that runs twice, once before and once after feedback, keeps its second ranking. One per query; not
    thread-safe.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """Of a stage that runs twice, the sum."""
        self.terms: Mapping[str, float] = {}
        """Weights of the analysed terms that the lexical search counted."""
        self.rankings: dict[str, Sequence[Hit]] = {}
        self.removed: dict[str, tuple[str, str]] = {}
        """By chunk_id: what took it out, and why in words."""
        self.notes: list[str] = []
        """What did not go as configured, for people."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time that is spent in the block."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def ranked(self, stage: str, hits: Sequence[Hit]) -> None:
        """Remember what a stage made, best first."""
        self.rankings.pop(stage, None)  # so that stages are in the order of their last run
        self.rankings[stage] = hits

    def remove(self, chunk_id: str, stage: str, reason: str) -> None:
        """Remember who took a candidate out."""
        self.removed[chunk_id] = (stage, reason)

    def include(self, other: "Trace", stage: str, hits: Sequence[Hit]) -> None:
        """Take in what happened to a part of the query, whose ranking counts as one stage of this one.

        The terms stay those of the whole query: what they add to a chunk is then its score of the lexical stage.
        """
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.ranked(stage, hits)

    def scores(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Scores by stage of each of these chunks."""
        wanted: dict[str, dict[str, float]] = {chunk_id: {} for chunk_id in chunk_ids}
        for stage, hits in self.rankings.items():
            for hit in hits:
                if hit.chunk_id in wanted:
                    wanted[hit.chunk_id][stage] = hit.score
        return wanted

    def explain(self, view: SearchView, results: Sequence[ScoredChunk]) -> Explanation:
        """Every candidate with its way through the stages; `results` are those that were returned, best first."""
        ways: dict[str, list[StageScore]] = {}
        for stage, hits in self.rankings.items():
            for rank, hit in enumerate(hits, start=1):
                ways.setdefault(hit.chunk_id, []).append(StageScore(stage, rank, hit.score))
        final = {hit.chunk_id: (rank, hit.score) for rank, hit in enumerate(self._final(), start=1)}
        places = {scored.chunk.chunk_id: (rank, scored.score) for rank, scored in enumerate(results, start=1)}
        chunk_ids = sorted(ways, key=lambda chunk_id: _order(chunk_id, ways, final, places))
        found = view.term_scores(self.terms, chunk_ids)
        candidates = []
        for chunk_id, terms in zip(chunk_ids, _held(found), strict=True):
            result, score = places.get(chunk_id) or (None, final[chunk_id][1] if chunk_id in final else None)
            removed_by, reason = ("", "") if result else self._why(chunk_id, final, len(results))
            doc_id, stages = doc_id_of(chunk_id), tuple(ways[chunk_id])
            candidates.append(CandidateTrace(chunk_id, doc_id, result, score, stages, terms, removed_by, reason))
        counted = zip(found.terms, found.chunks.tolist(), found.idf.tolist(), strict=True)
        return Explanation(
            terms=tuple(
                QueryTerm(term, self.terms[term], chunks, round(idf, _DECIMALS)) for term, chunks, idf in counted
            ),
            stages=tuple(self.rankings),
            candidates=tuple(candidates),
        )

    def _final(self) -> Sequence[Hit]:
        """The ranking that the results were taken from. Diversity chooses from it and gives no scores of its own."""
        return next((hits for stage, hits in reversed(self.rankings.items()) if stage != "diversity"), ())

    def _why(self, chunk_id: str, final: Mapping[str, tuple[int, float]], k: int) -> tuple[str, str]:
        """What took out a candidate that is not among the `k` results, and why in words."""
        if chunk_id in self.removed:
            return self.removed[chunk_id]
        if chunk_id in final:
            return "k", f"number {final[chunk_id][0]} of the final ranking, below the {k} results"
        # Feedback searches anew, and what only the first dense search had found is no candidate any more.
        depth = len(self.rankings.get("feedback", ()))
        return "feedback", f"not among the {depth} nearest of the query as feedback has moved it"


def _order(
    chunk_id: str,
    ways: Mapping[str, Sequence[StageScore]],
    final: Mapping[str, tuple[int, float]],
    places: Mapping[str, tuple[int, float]],
) -> tuple[int, float, str]:
    """Results by rank, then what came to the end by its rank there, then the others by the last score they had."""
    if chunk_id in places:
        return 0, places[chunk_id][0], chunk_id
    if chunk_id in final:
        return 1, final[chunk_id][0], chunk_id
    return 2, -ways[chunk_id][-1].score, chunk_id


def _held(found: TermScores) -> list[dict[str, float]]:
    """For each chunk the terms that add to its score, most first, equal ones ascending."""
    scores = np.round(found.scores, _DECIMALS)
    rows, columns = np.nonzero(scores)
    values = scores[rows, columns]
    order = np.lexsort((columns, -values, rows))
    held: list[dict[str, float]] = [{} for _ in scores]
    for row, column, value in zip(*(part[order].tolist() for part in (rows, columns, values)), strict=True):
        held[row][found.terms[column]] = value
    return held

"""What happened to the candidates of one query: kept while it is ranked, read when somebody asks why."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from retrieval.explanation import CandidateTrace, Explanation, QueryTerm, StageScore
from retrieval.ports import SearchView
from retrieval.records import Hit, ScoredChunk, doc_id_of

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
        """Take in what happened to a part of the query, whose ranking counts as one stage of this one."""
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.terms = dict(other.terms) | dict(self.terms)
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
        places = {scored.chunk.chunk_id: (rank, scored.score) for rank, scored in enumerate(results, start=1)}
        chunk_ids = sorted(ways, key=lambda chunk_id: _order(chunk_id, ways, places))
        found = view.term_scores(self.terms, chunk_ids)
        candidates = []
        for row, chunk_id in enumerate(chunk_ids):
            place = places.get(chunk_id)
            rank, score = place or (None, ways[chunk_id][-1].score)
            removed_by, reason = self._why(chunk_id, rank, len(results))
            added = {
                term: round(value, _DECIMALS)
                for term, value in zip(found.terms, found.scores[row].tolist(), strict=True)
                if value > 0.0
            }
            candidates.append(
                CandidateTrace(
                    chunk_id=chunk_id,
                    doc_id=doc_id_of(chunk_id),
                    rank=rank,
                    score=score,
                    stages=tuple(ways[chunk_id]),
                    terms=dict(sorted(added.items(), key=lambda item: (-item[1], item[0]))),
                    removed_by=removed_by,
                    reason=reason,
                )
            )
        terms = zip(found.terms, found.chunks.tolist(), found.idf.tolist(), strict=True)
        return Explanation(
            terms=tuple(
                QueryTerm(term, self.terms[term], chunks, round(idf, _DECIMALS)) for term, chunks, idf in terms
            ),
            stages=tuple(self.rankings),
            candidates=tuple(candidates),
        )

    def _why(self, chunk_id: str, rank: int | None, k: int) -> tuple[str, str]:
        if rank is not None:
            return "", ""
        return self.removed.get(chunk_id, ("k", f"ranked below the {k} results"))


def _order(
    chunk_id: str, ways: Mapping[str, Sequence[StageScore]], places: Mapping[str, tuple[int, float]]
) -> tuple[bool, float, str]:
    if chunk_id in places:
        return False, places[chunk_id][0], chunk_id
    return True, -ways[chunk_id][-1].score, chunk_id

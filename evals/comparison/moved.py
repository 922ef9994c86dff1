"""The queries whose score changed most, with what both sides answered."""

import math
from collections.abc import Iterator, Mapping

from evals.comparison.records import MovedQuery, RankedDocument, RelevantDocument
from evals.runs import Run

SHOWN = 10
"""Results of each side."""
_TOLERANCE = 1e-9


def moved_queries(baseline: Run, candidate: Run, metric: str, *, limit: int) -> tuple[MovedQuery, ...]:
    """At most `limit`, the largest change first, up or down; queries without a value on a side are not among them."""
    found = sorted(_changed(baseline, candidate, metric), key=lambda change: (-abs(change[2] - change[1]), change[0]))
    return tuple(
        _moved(query_id, metric, before, after, baseline=baseline, candidate=candidate)
        for query_id, before, after in found[:limit]
    )


def _changed(baseline: Run, candidate: Run, metric: str) -> Iterator[tuple[str, float, float]]:
    for query_id in baseline.queries:
        before = baseline.per_query.get(query_id, {}).get(metric)
        after = candidate.per_query.get(query_id, {}).get(metric)
        if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
            continue
        if abs(after - before) > _TOLERANCE:
            yield query_id, before, after


def _moved(query_id: str, metric: str, before: float, after: float, *, baseline: Run, candidate: Run) -> MovedQuery:
    ranks, other_ranks = _ranks(baseline, query_id), _ranks(candidate, query_id)
    judged = baseline.qrels.get(query_id, {})
    relevant = sorted((doc_id for doc_id in judged if judged[doc_id] > 0), key=lambda doc_id: -judged[doc_id])
    return MovedQuery(
        query_id=query_id,
        text=baseline.queries[query_id] or candidate.queries.get(query_id, ""),
        metric=metric,
        before=before,
        after=after,
        baseline=tuple(_documents(baseline, query_id, judged, other_ranks)),
        candidate=tuple(_documents(candidate, query_id, judged, ranks)),
        relevant=tuple(
            RelevantDocument(doc_id, judged[doc_id], ranks.get(doc_id), other_ranks.get(doc_id)) for doc_id in relevant
        ),
        baseline_explanation=baseline.explanations.get(query_id),
        candidate_explanation=candidate.explanations.get(query_id),
    )


def _ranks(run: Run, query_id: str) -> dict[str, int]:
    return {found.doc_id: rank for rank, found in enumerate(run.rankings.get(query_id, ()), start=1)}


def _documents(
    run: Run, query_id: str, judged: Mapping[str, int], other_ranks: Mapping[str, int]
) -> Iterator[RankedDocument]:
    for rank, found in enumerate(run.rankings.get(query_id, ())[:SHOWN], start=1):
        yield RankedDocument(
            doc_id=found.doc_id,
            rank=rank,
            score=found.score,
            relevance=judged.get(found.doc_id),
            title=run.titles.get(found.doc_id, ""),
            other_rank=other_ranks.get(found.doc_id),
        )

"""Runs of systems that were never built: just enough of one for the gate."""

from collections.abc import Mapping, Sequence
from typing import Any

from evals.comparison.records import Side
from evals.runs import RankedScore, Run

METRICS = ("nDCG@10", "recall@100", "MRR")


def system(values: Sequence[float | None] | Mapping[str, float | None], **changes: Any) -> Run:
    """A run whose queries q0, q1, ... have these values, of all metrics alike; `changes` are fields of it.

    Of each query, document 'right' is relevant; the ranking has it first where the value is above a half.
    """
    named = values if isinstance(values, Mapping) else {f"q{i}": value for i, value in enumerate(values)}
    side = Side(
        name="system",
        path="system",
        mode="default",
        dataset="set",
        created_at="2026-01-01T00:00:00Z",
        queries=len(named),
        queries_sha256="q",
        corpus_sha256="c",
        settings={"retrieval.dense_weight": 0.5},
        versions={"footnote": "1"},
    )
    parts: dict[str, Any] = {
        "side": side,
        "queries": {query_id: f"text of {query_id}" for query_id in named},
        "qrels": {query_id: {"right": 2, "wrong": 0} for query_id in named},
        "rankings": {query_id: ranking((value or 0.0) > 0.5) for query_id, value in named.items()},
        "per_query": {query_id: dict.fromkeys(METRICS, value) for query_id, value in named.items()},
    }
    return Run(**(parts | changes))


def ranking(found: bool) -> list[RankedScore]:
    """Two results, the relevant one first or last."""
    names = ("right", "wrong") if found else ("wrong", "right")
    return [RankedScore(doc_id, 2.0 - rank) for rank, doc_id in enumerate(names)]

"""A comparison as the gate would make it, small and deterministic, for the tests of its reports."""

import random
from dataclasses import replace
from typing import Any

from evals.comparison.records import (
    Comparison,
    MetricComparison,
    MovedQuery,
    RankedDocument,
    RelevantDocument,
    Rules,
    SettingChange,
    Side,
    Verdict,
)
from retrieval.explanation import CandidateTrace, Explanation, StageScore

HOSTILE = (
    '<script>alert("1")</script> | @octocat #1 `x` [a](javascript:b) www.example.org ]]> '
    '\x1b[31m \ud800 \u202e & "q"\nnew line'
)
"""What a query, a title or an id can be."""


def comparison(**changes: Any) -> Comparison:
    """A failed one of 60 queries and three metrics; `changes` are fields of it."""
    rules = Rules(metrics=("nDCG@10", "recall@100"), alpha=0.025, min_effect=0.01)
    reason = "nDCG@10 is 1.91 points worse (p 0.004), more than the 1 point that matters."
    made = Comparison(
        verdict=Verdict("fail", (reason,)),
        rules=rules,
        baseline=side("handbook, default, 12 May", p50=0.0101, p95=0.0193),
        candidate=side("handbook, default, 13 May", p50=0.0125, p95=0.0201),
        metrics=(
            metric("nDCG@10", gated=True, outcome="fail", reason=reason),
            metric("recall@100", gated=True, outcome="pass", seed=3),
            metric("MRR", gated=False, outcome=None, seed=5),
        ),
        moved=(moved("q07"), moved("q31", after=0.9)),
        changes=(
            SettingChange("retrieval.language", "english", "none"),
            SettingChange("versions.numpy", None, "2.4.0"),
        ),
        missing=(),
    )
    return replace(made, **changes)


def metric(name: str, *, gated: bool, outcome: Any, reason: str = "", seed: int = 1) -> MetricComparison:
    """Two thirds of the queries do not move, as it is with real changes."""
    dice = random.Random(seed)
    pairs = {}
    for number in range(60):
        before = dice.choice((0.0, 0.39, 0.5, 0.63, 1.0, 1.0))
        after = before if number % 3 else min(1.0, max(0.0, before + dice.uniform(-0.45, 0.3)))
        pairs[f"q{number:02d}"] = (before, after)
    old, new = (sum(values) / len(pairs) for values in zip(*pairs.values(), strict=True))
    return MetricComparison(
        metric=name,
        gated=gated,
        queries=len(pairs),
        baseline=old,
        candidate=new,
        difference=new - old,
        low=new - old - 0.013,
        high=new - old + 0.015,
        p_permutation=0.0004,
        p_adjusted=0.004 if gated else None,
        p_bootstrap=0.003,
        effect_size=-0.31,
        detectable=0.012,
        better=sum(after > before for before, after in pairs.values()),
        worse=sum(after < before for before, after in pairs.values()),
        equal=sum(after == before for before, after in pairs.values()),
        pairs=pairs,
        outcome=outcome,
        reason=reason,
    )


def unmeasured(name: str, problem: str) -> MetricComparison:
    """A gated metric that one side lacks."""
    return MetricComparison(metric=name, gated=True, queries=0, outcome="fail", reason=problem, problem=problem)


def moved(query_id: str, *, text: str = "At what pressure does the feed pump start?", after: float = 0.3) -> MovedQuery:
    """A query with a relevant document that one side has at 1, the other at 5 or 2; explained."""
    ranks = {"pumps": 1, "valves": 2, "boilers": 3, "tanks": 4, "steam": 5}
    late = {"valves": 1, "boilers": 2, "tanks": 3, "steam": 4, "pumps": 5}
    return MovedQuery(
        query_id=query_id,
        text=text,
        metric="nDCG@10",
        before=0.63,
        after=after,
        baseline=_ranking(ranks, late),
        candidate=_ranking(late, ranks),
        relevant=(RelevantDocument("pumps", 2, 1, 5), RelevantDocument("gauges", 1, None, 47)),
        baseline_explanation=explanation(),
        candidate_explanation=explanation(),
    )


def explanation() -> Explanation:
    """Of two documents: one found, one cut off."""
    found = CandidateTrace(
        "pumps:000001", "pumps", 1, 1.87,
        (StageScore("lexical", 1, 14.2), StageScore("dense", 3, 0.61), StageScore("fused", 1, 1.87)),
        terms={"pump": 7.1, "pressur": 5.2, "feed": 1.9},
    )  # fmt: skip
    cut = CandidateTrace(
        "gauges:000000", "gauges", None, 0.2, (StageScore("dense", 88, 0.31),), removed_by="k", reason="rank 47 of 10"
    )
    return Explanation(terms=(), stages=("lexical", "dense", "fused"), candidates=(found, cut))


def side(name: str, *, p50: float | None = None, p95: float | None = None) -> Side:
    """One side, measured or known from a plain run."""
    return Side(
        name=name, path=f"footnote-evals/results/{name}", mode="default", dataset="handbook",
        created_at="2026-05-12T09:30:00Z", queries=60, queries_sha256="ab" * 32, corpus_sha256="cd" * 32,
        documents=1_400, chunks=2_961, p50=p50, p95=p95, versions={"footnote": "0.1.0", "numpy": "2.4.0"},
    )  # fmt: skip


def _ranking(ranks: dict[str, int], other: dict[str, int]) -> tuple[RankedDocument, ...]:
    return tuple(
        RankedDocument(
            doc_id=doc_id,
            rank=rank,
            score=2.0 / rank,
            relevance=2 if doc_id == "pumps" else None,
            title=f"On {doc_id}",
            other_rank=other[doc_id],
        )
        for doc_id, rank in ranks.items()
    )

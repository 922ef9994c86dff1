"""Retrieval metrics through ir-measures (pytrec_eval underneath, so the numbers are trec_eval's).

A query without results scores 0; it is never dropped, so means compare between runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.datasets import Qrel
from retrieval.errors import MissingExtra
from retrieval.records import ScoredChunk

Ranking = Sequence[str]
"""doc_ids, best first."""

METRICS = ("nDCG@10", "recall@10", "recall@100", "MRR", "MAP")
"""What is measured; recall, MRR and MAP call every judgement above 0 relevant, nDCG weighs by it."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of one run, 0..1."""

    mean: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    """By query_id, then by metric."""


def library() -> Any:
    """The module ir_measures. Raises MissingExtra; ask before hours of indexing, not after."""
    try:
        import ir_measures  # noqa: PLC0415 - half a second that only evaluation pays
    except ImportError as exc:
        raise MissingExtra("ranking metrics need: pip install 'footnote[evals]'") from exc
    return ir_measures


def rank_documents(chunks: Iterable[ScoredChunk]) -> list[str]:
    """doc_ids in the order of their best chunk; `chunks` best first."""
    return list(dict.fromkeys(found.chunk.doc_id for found in chunks))


def evaluate(qrels: Sequence[Qrel], run: Mapping[str, Ranking]) -> Scores:
    """Score `run` (rankings by query_id) for every query of `qrels`; queries that the run lacks score 0."""
    measures = _measures()
    query_ids = sorted({qrel.query_id for qrel in qrels})
    per_query = {query_id: dict.fromkeys(METRICS, 0.0) for query_id in query_ids}
    for found in _calculate(list(measures), qrels, run):
        per_query[found.query_id][measures[found.measure]] = float(found.value)
    count = len(query_ids) or 1
    mean = {metric: sum(scores[metric] for scores in per_query.values()) / count for metric in METRICS}
    return Scores(mean, per_query)


def _calculate(measures: Sequence[Any], qrels: Sequence[Qrel], run: Mapping[str, Ranking]) -> Iterable[Any]:
    ir_measures = library()
    judged = [ir_measures.Qrel(qrel.query_id, qrel.doc_id, qrel.relevance) for qrel in qrels]
    known = {qrel.query_id for qrel in qrels}
    # Scores fall strictly with the rank: trec_eval breaks ties by document id, which would reorder our results.
    scored = [
        ir_measures.ScoredDoc(query_id, doc_id, float(len(ranking) - rank))
        for query_id, ranking in run.items()
        if query_id in known
        for rank, doc_id in enumerate(ranking)
    ]
    results: Iterable[Any] = ir_measures.pytrec_eval.iter_calc(measures, judged, scored)
    return results


def _measures() -> dict[Any, str]:
    """ir-measures' objects and our names for them."""
    ir = library()
    return dict(zip((ir.nDCG @ 10, ir.R @ 10, ir.R @ 100, ir.RR, ir.AP), METRICS, strict=True))

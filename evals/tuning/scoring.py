"""What settings score: many of them on the tuning part, which they share the work of, and two on the other part."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evals.datasets import Dataset
from evals.indexing import Indexed
from evals.measurement import ModeResult, measure
from evals.tuning.remembering import RememberingEmbedders, RememberingReranker, RememberingView
from retrieval.build import build_reranker, build_retriever
from retrieval.errors import InvalidRequest
from retrieval.settings import RetrievalSettings

_BATCH = 25
"""Queries whose searches are remembered at a time; it bounds the memory."""


def score(
    part: Dataset,
    index: Indexed,
    tried: Sequence[RetrievalSettings],
    metric: str,
    on_scored: Callable[[int], None],
) -> NDArray[np.float64]:
    """The metric of each of the settings on each query of `part`: shape (settings, queries), 0..1.

    `on_scored` hears of every batch how many rankings it had. Raises InvalidRequest when the first settings, the
    configured ones, find nothing, or a value is no number.
    """
    embedders = RememberingEmbedders(index.embedders)
    built = build_reranker(index.settings)
    reranker = RememberingReranker(built) if built else None
    found = np.full((len(tried), len(part.queries)), np.nan)
    with index.store.snapshot() as snapshot:
        view = RememberingView(snapshot)
        for begin in range(0, len(part.queries), _BATCH):
            batch = _batch(part, begin)
            for row, settings in enumerate(tried):
                retriever = build_retriever(index.store, embedders, settings, reranker=reranker)
                measured = measure(
                    "tune",
                    retriever,
                    snapshot=view.snapshot,
                    queries=batch.queries,
                    qrels=batch.qrels,
                    own=batch.own_documents,
                )
                found[row, begin : begin + len(batch.queries)] = _values(measured, batch, metric)
            on_scored(len(tried) * len(batch.queries))
            view.forget()
            embedders.forget()
            if reranker:
                reranker.forget()
    _check(found, part, metric)
    return found


def judge(
    part: Dataset, index: Indexed, settings: Sequence[RetrievalSettings], metric: str
) -> list[tuple[NDArray[np.float64], float]]:
    """Each of the settings on `part`, as it is without any memory: values per query, and seconds per query (median)."""
    reranker = build_reranker(index.settings)
    judged = []
    with index.store.snapshot() as snapshot:
        for each in settings:
            measured = measure(
                "judge",
                build_retriever(index.store, index.embedders, each, reranker=reranker),
                snapshot=snapshot,
                queries=part.queries,
                qrels=part.qrels,
                own=part.own_documents,
            )
            judged.append((_values(measured, part, metric), measured.p50))
    _check(np.array([values for values, _ in judged]), part, metric)
    return judged


def _batch(part: Dataset, begin: int) -> Dataset:
    queries = part.queries[begin : begin + _BATCH]
    kept = {query.query_id for query in queries}
    return replace(part, queries=queries, qrels=tuple(qrel for qrel in part.qrels if qrel.query_id in kept))


def _values(measured: ModeResult, part: Dataset, metric: str) -> NDArray[np.float64]:
    return np.array([measured.scores.per_query[query.query_id][metric] for query in part.queries])


def _check(found: NDArray[np.float64], part: Dataset, metric: str) -> None:
    if not np.isfinite(found).all():
        raise InvalidRequest(f"{part.name!r}: {metric} of a query is no number; nothing can be chosen by it")
    if not found[0].any():
        raise InvalidRequest(
            f"{part.name!r}: {metric} of the configured settings is 0 on all {len(part.queries)} queries of a part; "
            "gains are relative to it: look at qrels and corpus first"
        )

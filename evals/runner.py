"""Retrieval evaluation: a test collection through the same chunker, embedder, store and retriever as any documents."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.bundle import Evaluation, check_place, results_folder, write_bundle
from evals.datasets import Dataset, read_dataset
from evals.indexing import Indexed, indexed
from evals.measurement import DEPTH, ModeResult, measure
from evals.metrics import library
from ingest.events import OnEvent, ignore
from ingest.settings import IngestSettings
from retrieval.build import build_reranker, build_retriever
from retrieval.errors import InvalidRequest
from retrieval.settings import RetrievalSettings

_PLAIN: Mapping[str, Any] = {
    "identifier_weight": 1.0,
    "feedback_weight": 0.0,
    "late_weight": 0.0,
    "title_weight": 0.0,
    "neighbour_weight": 0.0,
    "reranker": "none",
    "deduplicate": False,
    "per_document": 0,
    "diversity": 0.0,
}
MODES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "dense": {"mode": "dense", **_PLAIN},
    "lexical": {"mode": "lexical", **_PLAIN},
    "rrf": {"mode": "hybrid", "fusion": "rrf", **_PLAIN},
    "convex": {"mode": "hybrid", "fusion": "convex", **_PLAIN},
}
"""What to measure: the configured settings, and well-known ways to compare them with."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure of a data set."""

    modes: Sequence[str] = ("default",)
    split: str = "test"
    """Which qrels/<split>.tsv."""
    limit: int | None = None
    """Only the first so many queries."""
    explain: bool = False
    """Whether to keep why each ranking is as it is."""
    keep: int = DEPTH
    """Results per query in the bundle's run files."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run measured, and where it is kept."""

    evaluation: Evaluation
    index: Mapping[str, Any]
    """What bundle.json holds."""
    bundle: Path
    """The bundle's folder."""
    reused: bool
    """Whether the collection was there from a former run."""
    index_seconds: float


def run(
    folder: Path,
    options: Options,
    *,
    retrieval: RetrievalSettings,
    ingest: IngestSettings,
    work_path: Path,
    out: Path | None = None,
    on_event: OnEvent = ignore,
) -> Result:
    """Measure retrieval on the BEIR folder `folder`; results are kept in `out`, or below `work_path`.

    The index is in the configured kind of store: below `work_path`, or in a schema of its own in PostgreSQL.
    `on_event` hears of the indexing. Raises InvalidRequest for a bad data set or mode, MissingExtra, and whatever
    embedder and store raise.
    """
    unknown = [mode for mode in options.modes if mode not in MODES]
    if unknown or not options.modes:
        raise InvalidRequest(f"modes {unknown!r} are not known; choose from {', '.join(MODES)}")
    library()
    if out:
        check_place(out)
    dataset = read_dataset(folder, split=options.split, limit=options.limit)
    with indexed(dataset, retrieval=retrieval, ingest=ingest, work_path=work_path, on_event=on_event) as made:
        with made.store.snapshot() as snapshot:
            info = snapshot.info
        measured = tuple(_measure(made, dataset, options))
    evaluation = Evaluation(
        dataset=dataset.name,
        split=dataset.split,
        queries=dataset.queries,
        qrels=dataset.qrels,
        corpus_sha256=dataset.corpus.fingerprint,
        documents=info.documents,
        chunks=info.chunks,
        collection=made.collection,
        embedder=made.embedder,
        chunking=info.edition.chunking,
        modes=measured,
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        problems=dataset.problems,
        keep=options.keep,
    )
    bundle = out or results_folder(work_path, evaluation)
    index = write_bundle(evaluation, bundle)
    return Result(evaluation, index, bundle, reused=made.reused, index_seconds=made.seconds)


def _measure(made: Indexed, dataset: Dataset, options: Options) -> Iterator[ModeResult]:
    """Each mode once, in the order asked for; the reranker is loaded once for all of them."""
    reranker = build_reranker(made.settings)
    for mode in dict.fromkeys(options.modes):
        settings = made.settings.model_copy(update=dict(MODES[mode]))
        second = reranker if settings.reranker != "none" else None
        retriever = build_retriever(made.store, made.embedders, settings, reranker=second)
        with made.store.snapshot() as snapshot:
            yield measure(
                mode,
                retriever,
                snapshot=snapshot,
                queries=dataset.queries,
                qrels=dataset.qrels,
                own=dataset.own_documents,
                explain=options.explain,
            )

"""Retrieval evaluation: a test collection through the same chunker, embedder, store and retriever as any documents.

The corpus is indexed once below a work folder and kept; later runs use it again while
corpus, embedder and chunking stay the same.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.bundle import write_bundle
from evals.datasets import Dataset, read_corpus, read_dataset
from evals.metrics import Scores, evaluate, library, rank_documents
from ingest.events import OnEvent, ignore
from ingest.pipeline import ingest_documents
from ingest.settings import IngestSettings
from retrieval.build import build_collections, build_embedder, build_embedders, build_retriever
from retrieval.errors import InvalidRequest
from retrieval.ports import Collections, Embedder, Embedders
from retrieval.records import Document, Element, EmbedderInfo
from retrieval.retriever import MAX_K, MAX_QUERY_CHARACTERS
from retrieval.settings import RetrievalSettings

MODES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "dense": {"mode": "dense"},
    "lexical": {"mode": "lexical"},
    "rrf": {"mode": "hybrid", "fusion": "rrf", "feedback_weight": 0.0},
    "convex": {"mode": "hybrid", "fusion": "convex", "feedback_weight": 0.0},
}
"""What to measure: the configured settings, and well-known ways to compare them with."""

DEPTH = 100
"""Chunks retrieved per query; their documents are scored. The depth of the first stage stays the configured one."""


@dataclass(frozen=True, slots=True)
class ModeResult:
    """One mode's run over all queries."""

    mode: str
    settings: RetrievalSettings
    scores: Scores
    rankings: Mapping[str, Sequence[str]]
    """doc_ids by query_id, best first."""
    p50: float
    """Seconds of `Retriever.retrieve`, median."""
    p95: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a run measured, and on what."""

    dataset: Dataset
    embedder: EmbedderInfo
    ingest: IngestSettings
    collection: str
    documents: int
    chunks: int
    reused: bool
    """Whether the collection was there from a former run."""
    index_seconds: float
    modes: tuple[ModeResult, ...]
    bundle: Path
    """The folder with `bundle.json` and a TREC run file per mode."""


def run(
    folder: Path,
    *,
    retrieval: RetrievalSettings,
    ingest: IngestSettings,
    work_path: Path,
    modes: Sequence[str] = ("default",),
    split: str = "test",
    limit: int | None = None,
    on_event: OnEvent = ignore,
) -> Result:
    """Measure retrieval on the BEIR folder `folder`; results are kept below `work_path`.

    The index is in the configured kind of store: below `work_path`, or in a schema of its own in PostgreSQL.
    `limit` takes the first so many queries; `on_event` hears of the indexing. Raises InvalidRequest for a bad data set
    or mode, MissingExtra, and whatever embedder and store raise.
    """
    if unknown := [mode for mode in modes if mode not in MODES] or not modes:
        raise InvalidRequest(f"modes {unknown!r} are not known; choose from {', '.join(MODES)}")
    library()
    dataset = read_dataset(folder, split=split, limit=limit)
    own = {"path": work_path / "collections", "postgres_schema": f"{retrieval.postgres_schema}_evals"}
    settings = retrieval.model_copy(update=own)
    embedder = build_embedder(settings)
    embedders = build_embedders(settings, embedder)
    collections = build_collections(settings)
    name = _collection_name(dataset, embedder.info, ingest, settings.language)
    begin = time.perf_counter()
    reused = _index(dataset, collections, name, embedder, embedders, ingest, settings.language, on_event)
    index_seconds = 0.0 if reused else time.perf_counter() - begin
    store = collections.open(name)
    try:
        with store.snapshot() as snapshot:
            info = snapshot.info
        results = []
        for mode in dict.fromkeys(modes):
            of_mode = settings.model_copy(update=dict(MODES[mode]))
            results.append(_measure(mode, dataset, build_retriever(store, embedders, of_mode), of_mode))
    finally:
        store.close()
        collections.close()
    result = Result(
        dataset=dataset,
        embedder=embedder.info,
        ingest=ingest,
        collection=name,
        documents=info.documents,
        chunks=info.chunks,
        reused=reused,
        index_seconds=index_seconds,
        modes=tuple(results),
        bundle=work_path / "results" / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}",
    )
    write_bundle(result)
    return result


def _measure(mode: str, dataset: Dataset, retriever: Any, settings: RetrievalSettings) -> ModeResult:
    seconds, rankings = [], {}
    with retriever.store.snapshot() as snapshot:
        retriever.retrieve(dataset.queries[0].text, k=1, snapshot=snapshot)  # loads the model; not measured
        for query in dataset.queries:
            begin = time.perf_counter()
            found = retriever.retrieve(query.text[:MAX_QUERY_CHARACTERS], k=min(DEPTH, MAX_K), snapshot=snapshot)
            seconds.append(time.perf_counter() - begin)
            rankings[query.query_id] = rank_documents(found.chunks)
    return ModeResult(
        mode=mode,
        settings=settings,
        scores=evaluate(dataset.qrels, rankings),
        rankings=rankings,
        p50=float(np.percentile(seconds, 50)),
        p95=float(np.percentile(seconds, 95)),
    )


def _index(
    dataset: Dataset,
    collections: Collections,
    name: str,
    embedder: Embedder,
    embedders: Embedders,
    settings: IngestSettings,
    language: str,
    on_event: OnEvent,
) -> bool:
    """Make the collection unless it is there and whole; returns whether it was."""
    if name in collections.names():
        store = collections.open(name)
        with store.snapshot() as snapshot:
            documents = snapshot.info.documents
        store.close()
        if documents == dataset.corpus.documents:
            return True
        collections.drop(name)  # a former run was cut off
    collections.create(name, embedder=embedder.info, chunking=settings.chunking, language=language)
    store = collections.open(name, writable=True)
    try:
        ingest_documents(_documents(dataset.folder), store=store, embedders=embedders, on_event=on_event)
    finally:
        store.close()
    return False


def _documents(folder: Path) -> Iterator[Document]:
    for line in read_corpus(folder):
        # A few documents of published sets have a title only; without text they could not be found.
        text = _storable(line.text if line.text.strip() else line.title)
        yield Document(
            doc_id=_storable(line.doc_id),
            source_uri=f"beir:{_storable(line.doc_id)}",
            title=_storable(line.title),
            media_type="text/plain",
            text=text,
            elements=(Element("paragraph", 0, len(text)),) if text else (),
        )


def _storable(text: str) -> str:
    """JSON can hold what a document must not: NUL and lone surrogates."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def _collection_name(dataset: Dataset, embedder: EmbedderInfo, settings: IngestSettings, language: str) -> str:
    """The same for the same corpus, embedder, chunking and language; so a change makes a new collection."""
    parts = [dataset.corpus.fingerprint, asdict(replace(embedder, adapter="", model="")), asdict(settings.chunking)]
    digest = hashlib.sha256(json.dumps([*parts, language], sort_keys=True).encode()).hexdigest()
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in dataset.name.lower()).strip("-")
    return f"{plain[:40] or 'set'}-{digest[:12]}"

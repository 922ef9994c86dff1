"""The corpus of a test collection, indexed once below a work folder and used again while nothing about it changes."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from evals.datasets import Dataset, read_corpus
from ingest.events import OnEvent, ignore
from ingest.indexing import token_code
from ingest.pipeline import ingest_documents
from ingest.settings import IngestSettings
from retrieval.build import build_collections, build_embedder, build_embedders
from retrieval.ports import Collections, Embedders, VectorStore
from retrieval.records import Document, Element, EmbedderInfo
from retrieval.settings import RetrievalSettings


@dataclass(frozen=True, slots=True)
class Indexed:
    """A test collection that can be searched."""

    store: VectorStore
    embedders: Embedders
    embedder: EmbedderInfo
    settings: RetrievalSettings
    """As given, but for where the collection lives."""
    collection: str
    reused: bool
    """Whether it was there from a former run."""
    seconds: float
    """What indexing took; 0 when it was there."""


@contextmanager
def indexed(
    dataset: Dataset,
    *,
    retrieval: RetrievalSettings,
    ingest: IngestSettings,
    work_path: Path,
    on_event: OnEvent = ignore,
) -> Iterator[Indexed]:
    """The corpus of `dataset` in the configured kind of store: below `work_path`, or in a schema of PostgreSQL.

    Closed at the end. Raises what embedder and store raise.
    """
    own = {"path": work_path / "collections", "postgres_schema": f"{retrieval.postgres_schema}_evals"}
    settings = retrieval.model_copy(update=own)
    embedder = build_embedder(settings)
    embedders = build_embedders(settings, embedder)
    collections = build_collections(settings)
    try:
        code = token_code(embedder, wanted=ingest.token_vectors)
        name = _collection_name(dataset, embedder.info, ingest, settings.language, code)
        begin = time.perf_counter()
        reused = name in collections.names()
        if reused and not _is_whole(collections, name, dataset):
            collections.drop(name)  # a former run was cut off
            reused = False
        if not reused:
            collections.create(
                name, embedder=embedder.info, chunking=ingest.chunking, language=settings.language, token_code=code
            )
            _index(dataset, collections, name, embedders, on_event)
        seconds = 0.0 if reused else time.perf_counter() - begin
        store = collections.open(name)
        try:
            yield Indexed(store, embedders, embedder.info, settings, name, reused, seconds)
        finally:
            store.close()
    finally:
        collections.close()


def _is_whole(collections: Collections, name: str, dataset: Dataset) -> bool:
    store = collections.open(name)
    try:
        with store.snapshot() as snapshot:
            return snapshot.info.documents == dataset.corpus.documents
    finally:
        store.close()


def _index(dataset: Dataset, collections: Collections, name: str, embedders: Embedders, on_event: OnEvent) -> None:
    store = collections.open(name, writable=True)
    try:
        ingest_documents(_documents(dataset.folder), store=store, embedders=embedders, on_event=on_event)
    finally:
        store.close()


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


def _collection_name(
    dataset: Dataset, embedder: EmbedderInfo, settings: IngestSettings, language: str, token_code: str
) -> str:
    """The same for the same corpus, embedder, chunking, language and token vectors; so a change makes a new one."""
    parts = [dataset.corpus.fingerprint, asdict(replace(embedder, adapter="", model="")), asdict(settings.chunking)]
    digest = hashlib.sha256(json.dumps([*parts, language, token_code], sort_keys=True).encode()).hexdigest()
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in dataset.name.lower()).strip("-")
    return f"{plain[:40] or 'set'}-{digest[:12]}"

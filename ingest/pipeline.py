"""Source -> load -> chunk -> embed -> replace: one run over some files. Idempotent: what is current is left alone.

Documents are written in batches, each in one commit together with their ledger lines. A run that is cut off at any
moment leaves whole documents only, and the next run goes on where it stopped.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ingest import chunking, ledger
from ingest.loaders import Loader, identify, load
from ingest.settings import IngestSettings
from ingest.sources import Source, content_hash, discover, doc_id_for, read
from retrieval.errors import FootnoteError, LoadError, MissingExtra
from retrieval.ports import Embedder, Replacement, Vectors, VectorStore
from retrieval.records import Chunk, Document, MetadataValue, SourceRecord

_log = logging.getLogger(__name__)

BATCH_CHUNKS = 512
"""Chunks embedded and committed together, of as many documents as it takes: sorting by length saves padding only when
there is something to sort, and a commit waits for the disk."""
EMBED_SLICE = 256
"""Chunks between two signs of progress."""

Outcome = Literal["ingested", "unchanged", "failed", "unsupported"]


@dataclass(frozen=True, slots=True)
class Discovered:
    """All sources are known: how much there is to do."""

    files: int
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Some more chunks have vectors."""

    chunks: int


@dataclass(frozen=True, slots=True)
class Finished:
    """One source is done with; for an ingested one, its document is durable."""

    source_uri: str
    name: str
    outcome: Outcome
    size: int
    chunks: int = 0
    error: str = ""


Event = Discovered | Embedded | Finished


def _ignore(event: Event) -> None:
    """For callers that do not watch."""


@dataclass(slots=True)
class Report:
    """What one run did."""

    files: int = 0
    ingested: int = 0
    unchanged: int = 0
    failures: list[Finished] = field(default_factory=list)
    """Failed and unsupported ones."""
    chunks: int = 0
    """Embedded in this run."""
    seconds: float = 0.0
    embed_seconds: float = 0.0
    """Of `seconds`, those spent in the embedder."""

    @property
    def complete(self) -> bool:
        """Whether every source is in the collection now."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A document on its way into the store."""

    document: Document
    chunks: Sequence[Chunk]
    line: SourceRecord
    name: str


def ingest(
    arguments: Sequence[str | Path],
    *,
    store: VectorStore,
    embedder: Embedder,
    settings: IngestSettings,
    metadata: Mapping[str, MetadataValue] | None = None,
    on_event: Callable[[Event], None] = _ignore,
) -> Report:
    """Bring the files among and below `arguments` into `store`, opened for writing.

    `metadata` is given to every document. A file that cannot be read is recorded with its reason, its former version
    stays, and the run goes on. Raises SourceNotFound before anything is done, and StoreError when writing fails.
    """
    begin = time.perf_counter()
    sources = list(discover(arguments))
    run = _Run(store, embedder, settings, metadata or {}, on_event)
    run.report.files = len(sources)
    on_event(Discovered(len(sources), sum(source.size for source in sources)))
    run.write_all(run.load_changed(sources))
    run.report.seconds = time.perf_counter() - begin
    return run.report


def ingest_documents(
    documents: Iterable[Document],
    *,
    store: VectorStore,
    embedder: Embedder,
    settings: IngestSettings,
    on_event: Callable[[Event], None] = _ignore,
) -> Report:
    """The same for documents that were made by other means than files, e.g. the records of a data set."""
    begin = time.perf_counter()
    run = _Run(store, embedder, settings, {}, on_event)
    run.write_all(run.chunked(documents))
    run.report.seconds = time.perf_counter() - begin
    return run.report


class _Run:
    """The stages of one run, and what they count."""

    def __init__(
        self,
        store: VectorStore,
        embedder: Embedder,
        settings: IngestSettings,
        metadata: Mapping[str, MetadataValue],
        on_event: Callable[[Event], None],
    ) -> None:
        self.report = Report()
        self._store = store
        self._embedder = embedder
        self._settings = settings
        self._metadata = metadata
        self._on_event = on_event

    def load_changed(self, sources: Sequence[Source]) -> Iterator[_Loaded]:
        """The documents of all sources that need work; the others are reported here."""
        with self._store.snapshot() as snapshot:
            lines = ledger.known(snapshot, [source.uri for source in sources])
        for source in sources:
            line = SourceRecord(source.uri, "ingested", doc_id_for(source.uri), "", "", source.size)
            try:
                data = read(source, max_bytes=self._settings.max_file_bytes)
                line = replace(line, content_hash=content_hash(data), size=len(data))
                loader = identify(data, source.name)
                line = replace(line, media_type=loader.media_type, fingerprint=self._fingerprint(loader))
                before = lines.get(source.uri)
                if ledger.is_current(before, content_hash=line.content_hash, fingerprint=line.fingerprint):
                    self._finish(line, source.name, "unchanged")
                    continue
                document = load(
                    data, name=source.name, source_uri=source.uri, doc_id=line.doc_id, metadata=self._metadata
                )
                yield _Loaded(document, self._split(document), line, source.name)
            except (LoadError, MissingExtra) as exc:
                self._fail(line, source.name, exc)
            except (FootnoteError, MemoryError):
                raise
            except Exception as exc:  # one file must not end the run, whatever our own code does with it
                _log.exception("unexpected error with %s", source.uri)
                self._fail(line, source.name, LoadError(f"{source.name!r}: internal error {type(exc).__name__}: {exc}"))

    def chunked(self, documents: Iterable[Document]) -> Iterator[_Loaded]:
        """The documents with their chunks, whether the store has them or not."""
        for document in documents:
            line = SourceRecord(
                source_uri=document.source_uri,
                status="ingested",
                doc_id=document.doc_id,
                content_hash=content_hash(document.text.encode("utf-8")),
                fingerprint=f"document {chunking.fingerprint(self._settings.chunking, self._embedder.info.window)}",
                size=len(document.text.encode("utf-8")),
                media_type=document.media_type,
            )
            yield _Loaded(document, self._split(document), line, document.title)

    def write_all(self, documents: Iterable[_Loaded]) -> None:
        """Embed and commit in batches, holding no more than one of them."""
        batch: list[_Loaded] = []
        waiting = 0
        for loaded in documents:
            batch.append(loaded)
            waiting += len(loaded.chunks)
            if waiting >= BATCH_CHUNKS:
                self._write(batch)
                batch, waiting = [], 0
        if batch:
            self._write(batch)

    def _write(self, batch: Sequence[_Loaded]) -> None:
        vectors = self._embed([chunk.indexed_text for loaded in batch for chunk in loaded.chunks])
        replacements, row = [], 0
        for loaded in batch:
            rows = vectors[row : row + len(loaded.chunks)]
            row += len(loaded.chunks)
            line = replace(loaded.line, chunks=len(loaded.chunks), recorded_at=ledger.now())
            replacements.append(Replacement(loaded.document, loaded.chunks, rows, line))
        self._store.replace(replacements)
        for loaded in batch:
            self._finish(loaded.line, loaded.name, "ingested", chunks=len(loaded.chunks))

    def _embed(self, texts: Sequence[str]) -> Vectors:
        begin = time.perf_counter()
        parts = [np.zeros((0, self._embedder.info.dimension), dtype=np.float32)]
        for i in range(0, len(texts), EMBED_SLICE):
            parts.append(self._embedder.embed_documents(texts[i : i + EMBED_SLICE]))
            self._on_event(Embedded(len(parts[-1])))
        self.report.chunks += len(texts)
        self.report.embed_seconds += time.perf_counter() - begin
        return np.concatenate(parts)

    def _split(self, document: Document) -> list[Chunk]:
        return chunking.split(
            document,
            tokenizer=self._embedder.tokenizer,
            window=self._embedder.info.window,
            settings=self._settings.chunking,
        )

    def _fingerprint(self, loader: Loader) -> str:
        return ledger.fingerprint(
            loader, settings=self._settings, embedder=self._embedder.info, metadata=self._metadata
        )

    def _fail(self, line: SourceRecord, name: str, error: FootnoteError) -> None:
        failed = ledger.failure(line, error)
        self._store.record([failed])
        self._finish(failed, name, failed.status, error=failed.error)

    def _finish(self, line: SourceRecord, name: str, outcome: Outcome, *, chunks: int = 0, error: str = "") -> None:
        finished = Finished(line.source_uri, name, outcome, line.size, chunks, error)
        if outcome == "ingested":
            self.report.ingested += 1
        elif outcome == "unchanged":
            self.report.unchanged += 1
        else:
            self.report.failures.append(finished)
        self._on_event(finished)

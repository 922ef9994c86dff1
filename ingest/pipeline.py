"""Source -> load -> chunk -> embed -> replace: one run over some files. Idempotent: what is current is left alone.

Documents are written in batches, each in one commit together with their ledger lines. A run that is cut off at any
moment leaves whole documents only, and the next run goes on where it stopped.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ingest import ledger
from ingest.indexing import Indexer
from ingest.preparation import Prepared, Preparer, Settled, ahead
from ingest.settings import IngestSettings
from ingest.sources import discover
from retrieval.errors import EditionChanged
from retrieval.ports import Embedders, Replacement, Vectors, VectorStore
from retrieval.records import Document, MetadataValue, SourceRecord

_AHEAD = 64
"""Documents that may be loaded and cut while the embedder is busy with earlier ones."""
BATCH_CHUNKS = 256
"""Chunks embedded and committed together, of as many documents as it takes: sorting by length saves padding only when
there is something to sort, and a commit waits for the disk."""

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


def ingest(
    arguments: Sequence[str | Path],
    *,
    store: VectorStore,
    embedders: Embedders,
    settings: IngestSettings,
    metadata: Mapping[str, MetadataValue] | None = None,
    exclude: Sequence[Path] = (),
    on_event: Callable[[Event], None] = _ignore,
) -> Report:
    """Bring the files among and below `arguments` into `store`, opened for writing.

    Chunks and vectors are made as the collection's live edition has them, whatever is configured for new ones.
    `metadata` is given to every document; folders of `exclude` are left out, such as the store's own. A file that
    cannot be read is recorded with its reason, its former version stays, and the run goes on. Raises SourceNotFound
    and EmbedderMismatch before anything is done, and StoreError when writing fails.
    """
    begin = time.perf_counter()
    sources = list(discover(arguments, exclude=exclude))
    run = _Run(store, embedders, on_event)
    run.report.files = len(sources)
    on_event(Discovered(len(sources), sum(source.size for source in sources)))
    with store.snapshot() as snapshot:
        lines = ledger.known(snapshot, [source.uri for source in sources])
    preparer = Preparer(indexer=lambda: run.indexer, settings=settings, metadata=metadata)
    run.write_all(ahead(preparer.sources(sources, lines), size=_AHEAD))
    run.report.seconds = time.perf_counter() - begin
    return run.report


def ingest_documents(
    documents: Iterable[Document],
    *,
    store: VectorStore,
    embedders: Embedders,
    settings: IngestSettings,
    on_event: Callable[[Event], None] = _ignore,
) -> Report:
    """The same for documents that were made by other means than files, e.g. the records of a data set."""
    begin = time.perf_counter()
    run = _Run(store, embedders, on_event)
    run.write_all(ahead(Preparer(indexer=lambda: run.indexer, settings=settings).documents(documents), size=_AHEAD))
    run.report.seconds = time.perf_counter() - begin
    return run.report


class _Run:
    """Batches, the embedder, the store, and what they count."""

    def __init__(self, store: VectorStore, embedders: Embedders, on_event: Callable[[Event], None]) -> None:
        self.report = Report()
        self._store = store
        self._embedders = embedders
        self._on_event = on_event
        self.indexer = self._indexer_of_live_edition()

    def write_all(self, items: Iterable[Prepared | Settled]) -> None:
        """Embed and commit in batches, holding no more than one of them."""
        batch: list[Prepared] = []
        waiting = 0
        for item in items:
            if isinstance(item, Settled):
                self._settle(item)
                continue
            batch.append(item)
            waiting += len(item.chunks)
            if waiting >= BATCH_CHUNKS:
                self._write(batch)
                batch, waiting = [], 0
        if batch:
            self._write(batch)

    def _write(self, batch: Sequence[Prepared]) -> None:
        written = [self._recut(prepared) for prepared in batch]
        while not self._commit(written):
            # A reindex has switched editions since: what we cut and embedded for the former one is of no use.
            self.indexer = self._indexer_of_live_edition()
            written = [self._recut(prepared) for prepared in batch]
        for prepared in written:
            self._finish(prepared.line, prepared.name, "ingested", chunks=len(prepared.chunks))

    def _commit(self, batch: Sequence[Prepared]) -> bool:
        """Write the batch in one commit; False when its edition is not the live one any more."""
        vectors = self._embed(batch)
        replacements, row = [], 0
        for prepared in batch:
            rows = vectors[row : row + len(prepared.chunks)]
            row += len(prepared.chunks)
            line = replace(prepared.line, chunks=len(prepared.chunks), recorded_at=ledger.now())
            replacements.append(Replacement(prepared.document, prepared.chunks, rows, line))
        try:
            self._store.replace(replacements, edition=self.indexer.edition)
        except EditionChanged:
            return False
        return True

    def _recut(self, prepared: Prepared) -> Prepared:
        """The same document in chunks of the present edition: it may have been cut, ahead, for the one before."""
        if prepared.edition == self.indexer.edition:
            return prepared
        return replace(prepared, chunks=self.indexer.split(prepared.document), edition=self.indexer.edition)

    def _indexer_of_live_edition(self) -> Indexer:
        with self._store.snapshot() as snapshot:
            return Indexer(snapshot.info.edition, self._embedders)

    def _embed(self, batch: Sequence[Prepared]) -> Vectors:
        begin = time.perf_counter()
        chunks = [chunk for prepared in batch for chunk in prepared.chunks]
        vectors = self.indexer.embed(chunks, lambda embedded: self._on_event(Embedded(embedded)))
        self.report.chunks += len(chunks)
        self.report.embed_seconds += time.perf_counter() - begin
        return vectors

    def _settle(self, item: Settled) -> None:
        if item.line.status == "ingested":
            self._finish(item.line, item.name, "unchanged")
        else:
            self._store.record([item.line])
            self._finish(item.line, item.name, item.line.status, error=item.line.error)

    def _finish(self, line: SourceRecord, name: str, outcome: Outcome, *, chunks: int = 0, error: str = "") -> None:
        finished = Finished(line.source_uri, name, outcome, line.size, chunks, error)
        if outcome == "ingested":
            self.report.ingested += 1
        elif outcome == "unchanged":
            self.report.unchanged += 1
        else:
            self.report.failures.append(finished)
        self._on_event(finished)

"""Source -> document -> chunks: all that happens before the embedder, one source at a time, ahead of it in a thread."""

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ingest import ledger
from ingest.indexing import Indexer
from ingest.loaders import identify, load
from ingest.settings import IngestSettings
from ingest.sources import Source, content_hash, doc_id_for, read
from retrieval.errors import FootnoteError, LoadError, MissingExtra
from retrieval.records import Chunk, Document, MetadataValue, SourceRecord

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document on its way to the embedder and into the store."""

    document: Document
    chunks: Sequence[Chunk]
    edition: int
    """For which the chunks were cut."""
    line: SourceRecord
    name: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A source that needs no embedding: unchanged when its line says 'ingested', else not readable."""

    line: SourceRecord
    name: str


class Preparer:
    """Loads and cuts. `indexer` gives the one of the edition that is live now; `metadata` goes to every document."""

    def __init__(
        self,
        *,
        indexer: Callable[[], Indexer],
        settings: IngestSettings,
        metadata: Mapping[str, MetadataValue] | None = None,
    ) -> None:
        self._indexer = indexer
        self._settings = settings
        self._metadata = metadata or {}

    def sources(self, sources: Iterable[Source], lines: Mapping[str, SourceRecord]) -> Iterator[Prepared | Settled]:
        """What each source gives, in order; `lines` is what the ledger knows of them, by URI."""
        for source in sources:
            line = SourceRecord(source.uri, "ingested", doc_id_for(source.uri), "", "", source.size)
            try:
                data = read(source, max_bytes=self._settings.max_file_bytes)
                line = replace(line, content_hash=content_hash(data), size=len(data))
                line, current = self._identified(line, data, source.name, lines.get(source.uri))
                yield Settled(line, source.name) if current else self._loaded(line, data, source.name)
            except (LoadError, MissingExtra) as exc:
                yield Settled(ledger.failure(line, exc), source.name)
            except (FootnoteError, MemoryError):
                raise
            except Exception as exc:  # one file must not end the run, whatever our own code does with it
                _log.exception("unexpected error with %s", source.uri)
                error = LoadError(f"{source.name!r}: internal error {type(exc).__name__}: {exc}")
                yield Settled(ledger.failure(line, error), source.name)

    def documents(self, documents: Iterable[Document]) -> Iterator[Prepared]:
        """Documents that were made by other means than files, whether the store has them or not."""
        for document in documents:
            data = document.text.encode("utf-8")
            line = SourceRecord(
                source_uri=document.source_uri,
                status="ingested",
                doc_id=document.doc_id,
                content_hash=content_hash(data),
                fingerprint="document",
                size=len(data),
                media_type=document.media_type,
            )
            yield self._cut(document, line, document.title)

    def _identified(
        self, line: SourceRecord, data: bytes, name: str, before: SourceRecord | None
    ) -> tuple[SourceRecord, bool]:
        """The line with media type and fingerprint, and whether the collection has just that already."""
        loader = identify(data, name)
        fingerprint = ledger.fingerprint(loader, metadata=self._metadata)
        line = replace(line, media_type=loader.media_type, fingerprint=fingerprint)
        return line, ledger.is_current(before, content_hash=line.content_hash, fingerprint=fingerprint)

    def _loaded(self, line: SourceRecord, data: bytes, name: str) -> Prepared:
        document = load(data, name=name, source_uri=line.source_uri, doc_id=line.doc_id, metadata=self._metadata)
        return self._cut(document, line, name)

    def _cut(self, document: Document, line: SourceRecord, name: str) -> Prepared:
        indexer = self._indexer()
        return Prepared(document, indexer.split(document), indexer.edition, line, name)


def ahead(items: Iterable[_T], *, size: int) -> Iterator[_T]:
    """The same items, made in a thread that is up to `size` of them ahead. What making them raises, this raises.

    While the embedder is busy in native code, Python has a core to load and cut the next documents.
    """
    made: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue(size)
    stop = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                _put(made, (item, None), stop)
                if stop.is_set():
                    return
        except BaseException as exc:  # handed over to the consumer, whatever it is
            error = exc
        _put(made, (None, error), stop)

    thread = threading.Thread(target=make, name="prepare", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join()


def _put(to: "queue.Queue[_T]", item: _T, stop: threading.Event) -> None:
    """Wait for room, but not for a consumer that has gone."""
    while not stop.is_set():
        try:
            to.put(item, timeout=0.1)
        except queue.Full:
            continue
        return

"""Prepared documents -> vectors -> commits, in batches filled across documents, with the commit beside the embedding.

The caller's thread embeds; a thread of its own commits the batch before. A batch is one commit, ledger lines included.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ingest import ledger
from ingest.events import Embedded, OnEvent
from ingest.indexing import Embedding, Indexer
from ingest.tasks import Prepared
from retrieval.errors import EditionChanged
from retrieval.ports import Embedders, Replacement, VectorStore
from retrieval.records import Chunk, Edition, SourceRecord

BATCH_CHUNKS = 256
"""Chunks embedded and committed together, of as many documents as it takes: sorting by length saves padding only when
there is something to sort, and a commit waits for the disk."""
_BATCH_CHARACTERS = 16 * 2**20
"""Of text; so that documents with few chunks for their size do not pile up."""
_BATCH_UNITS = 1_000
_BATCH_SECONDS = 10.0
"""What has been read is committed after this time, when more comes in slowly."""
_LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Unit:
    """What became of one source: documents and lines that are committed together."""

    documents: tuple[Prepared, ...] = ()
    lines: tuple[SourceRecord, ...] = ()
    """Of what gave no document."""
    replaces: tuple[str, ...] = ()
    """Ids of documents that go in the same commit."""
    donors: tuple[str, ...] = ()
    """Ids of documents whose vectors may be of use, since texts of theirs may be here again."""
    done: Callable[[Sequence[Prepared]], None] = field(default=lambda _: None)
    """Called, in the writing thread, when all is durable, with the documents as they were written."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Units with what the edition of `indexer` keeps of their chunks, row by row."""

    units: tuple[Unit, ...]
    indexer: Indexer
    embedding: Embedding


class Writer:
    """Embeds and commits units, in the order given. Used by one thread."""

    def __init__(self, store: VectorStore, embedders: Embedders, on_event: OnEvent, *, restore: bool = False) -> None:
        """`restore` writes what somebody has deleted on purpose, too."""
        self.embed_seconds = 0.0
        self.embedded = 0
        self.reused = 0
        self.stage = "reading"
        """What the run is busy with, as far as seen from here."""
        self._store = store
        self._embedders = embedders
        self._on_event = on_event
        self._restore = restore
        self.indexer = Indexer(_live(store), embedders)
        """Of the edition that was live when last looked at; another thread may replace it."""
        self._waiting = _Waiting()
        self._batches: queue.Queue[_Batch | None] = queue.Queue(1)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._commit_all, name="write", daemon=True)
        self._thread.start()

    def add(self, unit: Unit) -> None:
        """Take one unit; a full batch is embedded now, and committed soon. Raises what committing raised."""
        self._waiting.add(unit)
        if self._waiting.is_full():
            self.flush()

    def flush(self) -> None:
        """Embed what is waiting, and hand it on to be committed."""
        units, self._waiting = self._waiting.units, _Waiting()
        if units:
            self._put(self._embedded(units))
        self.stage = "reading"

    def finish(self) -> None:
        """Commit everything, and end. Raises what committing raised."""
        self.flush()
        self.stage = "writing"
        self._put(None)
        self._thread.join()
        self._raise()

    def abandon(self) -> None:
        """End soon: what is not on its way to the disk is dropped."""
        self._error = self._error or KeyboardInterrupt()  # whatever is queued is not begun
        with suppress(queue.Full):
            self._batches.put(None, timeout=_LEAVE_SECONDS)
            self._thread.join(_LEAVE_SECONDS)

    def _put(self, batch: _Batch | None) -> None:
        self._raise()
        if self._batches.full():
            self.stage = "writing"
        self._batches.put(batch)
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _commit_all(self) -> None:
        """What the writing thread does. After an error it takes batches, so that nobody waits, and drops them."""
        while (batch := self._batches.get()) is not None:
            if self._error is None:
                try:
                    self._commit(batch)
                except BaseException as exc:  # handed over to the other thread, whatever it is
                    self._error = exc

    def _commit(self, batch: _Batch) -> None:
        batch = self._without_deleted(batch)
        # Lines of failed attachments go first: a message whose own line is written is not read again.
        lines = [line for unit in batch.units for line in unit.lines]
        if lines:
            self._store.record(lines)
        while not self._replace(batch):
            # A reindex has switched editions since: what was cut and embedded for the former one is of no use.
            self.indexer = Indexer(_live(self._store), self._embedders)
            batch = self._embedded(batch.units)
        for unit in batch.units:
            unit.done(unit.documents)

    def _without_deleted(self, batch: _Batch) -> _Batch:
        """Without what somebody has deleted since the run began, and while it was on its way here."""
        lines = [line for unit in batch.units for line in unit.lines]
        lines += [one.line for unit in batch.units for one in unit.documents]
        if self._restore or not lines:
            return batch
        with self._store.snapshot() as snapshot:
            found = snapshot.sources(uris=[line.source_uri for line in lines], status="deleted")
        deleted = {line.source_uri for line in found}
        if not deleted:
            return batch
        documents = [one for unit in batch.units for one in unit.documents]
        parts = batch.embedding.divided([len(one.chunks) for one in documents])
        kept = [part for one, part in zip(documents, parts, strict=True) if one.line.source_uri not in deleted]
        units = tuple(_without(unit, deleted) for unit in batch.units)
        return replace(batch, units=units, embedding=Embedding.joined(kept, like=batch.embedding))

    def _replace(self, batch: _Batch) -> bool:
        """Write the batch in one commit; False when its edition is not the live one any more."""
        replacements = []
        parts = batch.embedding.divided([len(one.chunks) for unit in batch.units for one in unit.documents])
        for unit in batch.units:
            replaces = unit.replaces
            for one in unit.documents:
                part = next(parts)
                replacements.append(
                    Replacement(one.document, one.chunks, part.vectors, one.line, replaces, part.token_vectors)
                )
                replaces = ()
        try:
            if replacements:
                self._store.replace(replacements, edition=batch.indexer.edition)
        except EditionChanged:
            return False
        return True

    def _embedded(self, units: Sequence[Unit]) -> _Batch:
        """The units cut for the present edition, if they are not yet, with vectors and finished ledger lines."""
        self.stage = "embedding"
        indexer = self.indexer
        units = [_cut_for(indexer, unit) for unit in units]
        chunks = [chunk for unit in units for prepared in unit.documents for chunk in prepared.chunks]
        begin = time.perf_counter()
        embedding = self._embedding(indexer, chunks, [donor for unit in units for donor in unit.donors])
        seconds = time.perf_counter() - begin
        self.embed_seconds += seconds
        share = seconds / max(1, len(chunks))
        return _Batch(tuple(_completed(unit, share) for unit in units), indexer, embedding)

    def _embedding(self, indexer: Indexer, chunks: Sequence[Chunk], donors: Sequence[str]) -> Embedding:
        """What a donor has for the same text; for the others, what the embedder makes of them."""
        known = self._donated(indexer, donors)
        missing = [row for row, chunk in enumerate(chunks) if chunk.indexed_text not in known]
        made = indexer.embed([chunks[row] for row in missing], lambda count: self._on_event(Embedded(count)))
        self.embedded += len(missing)
        self.reused += len(chunks) - len(missing)
        if not known:
            return made
        fresh = made.divided([1] * len(missing))
        return Embedding.joined([known.get(chunk.indexed_text) or next(fresh) for chunk in chunks], like=made)

    def _donated(self, indexer: Indexer, donors: Sequence[str]) -> dict[str, Embedding]:
        """What documents of the collection have, by text, as far as it is of the indexer's edition."""
        if not donors:
            return {}
        with self._store.snapshot() as snapshot:
            if snapshot.info.live != indexer.edition:
                return {}
            contents = snapshot.contents(list(dict.fromkeys(donors)))
        found: dict[str, Embedding] = {}
        for content in contents:
            parts = Embedding(content.vectors, content.token_vectors).divided([1] * len(content.chunks))
            found |= {chunk.indexed_text: part for chunk, part in zip(content.chunks, parts, strict=True)}
        return found


class _Waiting:
    """Units of the next batch."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self._chunks = 0
        self._characters = 0
        self._since = time.monotonic()

    def add(self, unit: Unit) -> None:
        self.units.append(unit)
        self._chunks += sum(len(prepared.chunks) for prepared in unit.documents)
        self._characters += sum(len(prepared.document.text) for prepared in unit.documents)

    def is_full(self) -> bool:
        return (
            self._chunks >= BATCH_CHUNKS
            or self._characters >= _BATCH_CHARACTERS
            or len(self.units) >= _BATCH_UNITS
            or time.monotonic() - self._since > _BATCH_SECONDS
        )


def _live(store: VectorStore) -> Edition:
    with store.snapshot() as snapshot:
        return snapshot.info.edition


def _without(unit: Unit, deleted: Set[str]) -> Unit:
    return replace(
        unit,
        documents=tuple(one for one in unit.documents if one.line.source_uri not in deleted),
        lines=tuple(line for line in unit.lines if line.source_uri not in deleted),
    )


def _cut_for(indexer: Indexer, unit: Unit) -> Unit:
    """The same unit in chunks of the indexer's edition: it may have been cut, ahead, for the one before."""
    documents = tuple(
        prepared
        if prepared.edition == indexer.edition
        else replace(prepared, chunks=indexer.split(prepared.document), edition=indexer.edition)
        for prepared in unit.documents
    )
    return replace(unit, documents=documents)


def _completed(unit: Unit, seconds: float) -> Unit:
    """With lines that say how many chunks there are, and what embedding took, at `seconds` for a chunk."""
    documents = []
    for prepared in unit.documents:
        count = len(prepared.chunks)
        stages = [
            *(stage for stage in prepared.line.seconds if stage[0] != "embed"),
            ("embed", round(count * seconds, 4)),
        ]
        line = replace(prepared.line, chunks=count, recorded_at=ledger.now(), seconds=tuple(stages))
        documents.append(replace(prepared, line=line))
    return replace(unit, documents=tuple(documents))

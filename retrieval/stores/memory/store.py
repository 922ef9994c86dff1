"""Collections, and the writes that make the next state of one."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from retrieval.analysis import analyzer
from retrieval.errors import CollectionExists, CollectionNotFound, WriterBusy
from retrieval.ports import DEFAULT_CHUNKING, Replacement
from retrieval.records import (
    Chunking,
    Document,
    EmbedderInfo,
    SourceRecord,
)
from retrieval.stores.checks import (
    check_complete,
    check_edition,
    check_live,
    check_name,
    check_not_live,
    check_not_live_to_drop,
    check_replacements,
    check_sources,
    check_text,
)
from retrieval.stores.memory.keeper import MemoryKeeper
from retrieval.stores.memory.snapshot import MemorySnapshot
from retrieval.stores.memory.state import EditionState, Entry, MemoryCollection, State


class MemoryCollections:
    """Collections that live as long as this object."""

    def __init__(self) -> None:
        self._stores: dict[str, MemoryCollection] = {}

    def names(self) -> list[str]:
        return sorted(self._stores)

    def create(
        self,
        name: str,
        *,
        embedder: EmbedderInfo,
        chunking: Chunking = DEFAULT_CHUNKING,
        language: str = "english",
        token_code: str = "",
    ) -> None:
        if check_name(name) in self._stores:
            raise CollectionExists(f"collection {name!r} exists already")
        self._stores[name] = MemoryCollection(name, language, EditionState(embedder, chunking, _now(), token_code))

    def open(self, name: str, *, writable: bool = False) -> "MemoryStore":
        if check_name(name) not in self._stores:
            raise CollectionNotFound(f"no collection {name!r}; there are: {', '.join(self.names()) or 'none'}")
        return MemoryStore(self._stores[name], writable=writable)

    def keeper(self, name: str) -> MemoryKeeper:
        self.open(name)
        return MemoryKeeper(self._stores[name])

    def drop(self, name: str) -> None:
        self.open(name)
        self._stores.pop(name).dropped = True

    def place(self) -> str:
        return "the memory of this process"

    def close(self) -> None:
        """Nothing to release."""


class MemoryStore:
    """One handle to one collection; see `retrieval.ports.VectorStore`."""

    def __init__(self, collection: MemoryCollection, *, writable: bool) -> None:
        self._collection = collection
        self._writable = writable

    @contextmanager
    def snapshot(self, *, edition: int | None = None) -> Iterator["MemorySnapshot"]:
        state = self._state()
        number = state.live if edition is None else edition
        _edition(state, number)
        yield MemorySnapshot(self._collection, state, number)

    def replace(self, replacements: Sequence[Replacement], *, edition: int | None = None) -> None:
        with self._write() as state:
            check_live(edition, state.live)
            live = state.editions[state.live]
            check_replacements(replacements, live.embedder, live.token_code)
            going = {doc_id for replacement in replacements for doc_id in replacement.replaces}
            documents = {doc_id: document for doc_id, document in state.documents.items() if doc_id not in going}
            sources = {uri: source for uri, source in state.sources.items() if source.doc_id not in going}
            for replacement in replacements:
                documents[replacement.document.doc_id] = replacement.document
                if replacement.source:
                    sources[replacement.source.source_uri] = replacement.source
            replaced = {replacement.document.doc_id for replacement in replacements}
            editions = {number: _without(one, replaced | going) for number, one in state.editions.items()}
            editions[state.live] = self._with(editions[state.live], replacements)
            self._commit(replace(state, documents=documents, editions=editions, sources=sources))

    def index(self, replacements: Sequence[Replacement], *, edition: int) -> int:
        with self._write() as state:
            one = _edition(state, edition)
            check_not_live(edition, state.live)
            check_replacements(replacements, one.embedder, one.token_code)
            current = [found for found in replacements if _stands(found.document, state.documents)]
            editions = {**state.editions, edition: self._with(one, current)}
            self._commit(replace(state, editions=editions))
        return len(current)

    def delete(self, doc_ids: Sequence[str], *, leave: Sequence[SourceRecord] = ()) -> list[str]:
        check_text(*doc_ids)
        check_sources(leave)
        with self._write() as state:
            gone = {doc_id for doc_id in doc_ids if doc_id in state.documents}
            kept = {uri: source for uri, source in state.sources.items() if source.doc_id not in set(doc_ids)}
            if gone or leave or len(kept) < len(state.sources):
                documents = {doc_id: document for doc_id, document in state.documents.items() if doc_id not in gone}
                editions = {number: _without(one, gone) for number, one in state.editions.items()}
                sources = kept | {source.source_uri: source for source in leave}
                self._commit(replace(state, documents=documents, editions=editions, sources=sources))
        return sorted(gone)

    def record(self, sources: Sequence[SourceRecord]) -> None:
        check_sources(sources)
        with self._write() as state:
            lines = {**state.sources, **{source.source_uri: source for source in sources}}
            self._commit(replace(state, sources=lines))

    def add_edition(self, *, embedder: EmbedderInfo, chunking: Chunking, token_code: str = "") -> int:
        with self._write() as state:
            number = state.last + 1
            editions = {**state.editions, number: EditionState(embedder, chunking, _now(), token_code)}
            self._commit(replace(state, editions=editions, last=number))
        return number

    def switch(self, edition: int) -> None:
        with self._write() as state:
            missing = len(state.documents) - len(_edition(state, edition).entries)
            check_complete(edition, missing)
            self._commit(replace(state, live=edition))

    def drop_edition(self, edition: int) -> None:
        with self._write() as state:
            _edition(state, edition)
            check_not_live_to_drop(edition, state.live)
            editions = {number: one for number, one in state.editions.items() if number != edition}
            self._commit(replace(state, editions=editions))

    def close(self) -> None:
        """Nothing to release."""

    def _state(self) -> State:
        if self._collection.dropped:
            raise CollectionNotFound(f"collection {self._collection.name!r} was dropped since it was opened")
        return self._collection.state

    @contextmanager
    def _write(self) -> Iterator[State]:
        if not self._writable:
            raise WriterBusy(f"collection {self._collection.name!r} was opened for reading; open it with writable=True")
        with self._collection.writing:
            yield self._state()

    def _with(self, edition: EditionState, replacements: Sequence[Replacement]) -> EditionState:
        terms = analyzer(self._collection.language).terms
        added = {replacement.document.doc_id: tuple(_entries(replacement, terms)) for replacement in replacements}
        return replace(edition, entries={**edition.entries, **added})

    def _commit(self, state: State) -> None:
        self._collection.state = replace(state, sequence=state.sequence + 1)


def _entries(replacement: Replacement, terms: Callable[[str], list[str]]) -> Iterator[Entry]:
    blobs = replacement.token_vectors or [b""] * len(replacement.chunks)
    for chunk, vector, blob in zip(replacement.chunks, replacement.vectors, blobs, strict=True):
        yield Entry(chunk, np.array(vector, dtype=np.float32), Counter(terms(chunk.indexed_text)), bytes(blob))


def _edition(state: State, number: int) -> EditionState:
    check_edition(number, state.editions)
    return state.editions[number]


def _without(edition: EditionState, doc_ids: Set[str]) -> EditionState:
    return replace(edition, entries={key: entry for key, entry in edition.entries.items() if key not in doc_ids})


def _stands(document: Document, documents: Mapping[str, Document]) -> bool:
    """Whether chunks made of `document` fit the one that is stored: they depend on its text and its title."""
    stored = documents.get(document.doc_id)
    return stored is not None and (stored.version, stored.title) == (document.version, document.title)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Exact in-memory store; defines correct behaviour. Everything is a plain loop over immutable state."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from retrieval import bm25, filters
from retrieval.analysis import analyzer
from retrieval.errors import CollectionExists, CollectionNotFound, DocumentNotFound, WriterBusy
from retrieval.filters import Filter
from retrieval.fusion import ranked
from retrieval.ports import Replacement, Vectors
from retrieval.records import (
    Chunk,
    CollectionInfo,
    Document,
    DocumentInfo,
    EmbedderInfo,
    Hit,
    SourceRecord,
    SourceStatus,
    StoredChunk,
)
from retrieval.stores.checks import SCORE_DECIMALS, check_name, check_query_vector, check_replacements


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A chunk with all that a search needs of it."""

    chunk: Chunk
    vector: Vectors
    terms: Counter[str]


@dataclass(frozen=True, slots=True)
class _State:
    """One commit of a collection; never changed, only followed by the next."""

    sequence: int = 0
    documents: Mapping[str, Document] = field(default_factory=dict)
    entries: Mapping[str, tuple[_Entry, ...]] = field(default_factory=dict)
    """By doc_id."""
    sources: Mapping[str, SourceRecord] = field(default_factory=dict)


class MemoryCollections:
    """Collections that live as long as this object."""

    def __init__(self) -> None:
        self._stores: dict[str, _MemoryCollection] = {}

    def names(self) -> list[str]:
        return sorted(self._stores)

    def create(self, name: str, *, embedder: EmbedderInfo, language: str = "english") -> None:
        if check_name(name) in self._stores:
            raise CollectionExists(f"collection {name!r} exists already")
        self._stores[name] = _MemoryCollection(name, embedder, language)

    def open(self, name: str, *, writable: bool = False) -> "MemoryStore":
        if name not in self._stores:
            raise CollectionNotFound(f"no collection {name!r}; there are: {', '.join(self.names()) or 'none'}")
        return MemoryStore(self._stores[name], writable=writable)

    def drop(self, name: str) -> None:
        self.open(name)
        del self._stores[name]


class _MemoryCollection:
    """What all handles to one collection share."""

    def __init__(self, name: str, embedder: EmbedderInfo, language: str) -> None:
        self.name = name
        self.embedder = embedder
        self.language = language
        self.state = _State()
        self.writer = threading.Lock()


class MemoryStore:
    """One handle to one collection; see `retrieval.ports.VectorStore`."""

    def __init__(self, collection: _MemoryCollection, *, writable: bool) -> None:
        self._collection = collection
        self._writable = writable
        if writable and not collection.writer.acquire(blocking=False):
            raise WriterBusy(f"collection {collection.name!r} is being written to; close that writer first")

    @contextmanager
    def snapshot(self) -> Iterator["MemorySnapshot"]:
        yield MemorySnapshot(self._collection, self._collection.state)

    def replace(self, replacements: Sequence[Replacement]) -> None:
        check_replacements(replacements, self._collection.embedder)
        terms = analyzer(self._collection.language).terms
        state = self._state_for_writing()
        documents, entries, sources = dict(state.documents), dict(state.entries), dict(state.sources)
        for replacement in replacements:
            document = replacement.document
            documents[document.doc_id] = document
            entries[document.doc_id] = tuple(
                _Entry(chunk, np.array(vector, dtype=np.float32), Counter(terms(chunk.indexed_text)))
                for chunk, vector in zip(replacement.chunks, replacement.vectors, strict=True)
            )
            if replacement.source:
                sources[replacement.source.source_uri] = replacement.source
        self._commit(replace(state, documents=documents, entries=entries, sources=sources))

    def delete(self, doc_ids: Sequence[str]) -> list[str]:
        state = self._state_for_writing()
        gone = {doc_id for doc_id in doc_ids if doc_id in state.documents}
        kept = {uri: source for uri, source in state.sources.items() if source.doc_id not in set(doc_ids)}
        if gone or len(kept) < len(state.sources):
            documents = {doc_id: document for doc_id, document in state.documents.items() if doc_id not in gone}
            entries = {doc_id: found for doc_id, found in state.entries.items() if doc_id not in gone}
            self._commit(replace(state, documents=documents, entries=entries, sources=kept))
        return sorted(gone)

    def record(self, sources: Sequence[SourceRecord]) -> None:
        state = self._state_for_writing()
        self._commit(replace(state, sources={**state.sources, **{source.source_uri: source for source in sources}}))

    def close(self) -> None:
        if self._writable:
            self._writable = False
            self._collection.writer.release()

    def _state_for_writing(self) -> _State:
        if not self._writable:
            raise WriterBusy(f"collection {self._collection.name!r} was opened for reading; open it with writable=True")
        return self._collection.state

    def _commit(self, state: _State) -> None:
        self._collection.state = replace(state, sequence=state.sequence + 1)


class MemorySnapshot:
    """See `retrieval.ports.Snapshot`."""

    def __init__(self, collection: _MemoryCollection, state: _State) -> None:
        self._collection = collection
        self._state = state

    @property
    def info(self) -> CollectionInfo:
        state = self._state
        return CollectionInfo(
            name=self._collection.name,
            embedder=self._collection.embedder,
            language=self._collection.language,
            documents=len(state.documents),
            chunks=sum(map(len, state.entries.values())),
            sequence=state.sequence,
            fields=tuple(sorted({name for document in state.documents.values() for name in _fields(document)})),
        )

    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        check_query_vector(vector, self._collection.embedder)
        query = vector.astype(np.float64)
        scores = {
            entry.chunk.chunk_id: float(entry.vector.astype(np.float64) @ query) for entry in self._passing(filter)
        }
        return _top(scores, k)

    def search_lexical(self, terms: Mapping[str, float], *, k: int, filter: Filter | None = None) -> list[Hit]:
        everything = list(self._passing(None))
        average = sum(entry.terms.total() for entry in everything) / max(1, len(everything))
        scores: dict[str, float] = defaultdict(float)
        for term, weight in sorted(terms.items()):
            idf = bm25.idf(len(everything), sum(term in entry.terms for entry in everything))
            for entry in self._passing(filter):
                if tf := entry.terms[term]:
                    norm = bm25.length_norm(float(entry.terms.total()), average)
                    scores[entry.chunk.chunk_id] += weight * idf * bm25.saturation(float(tf), norm)
        return _top(scores, k)

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        found = {entry.chunk.chunk_id: entry.chunk for entry in self._passing(None)}
        return [
            StoredChunk(found[chunk_id], self._state.documents[found[chunk_id].doc_id].info)
            for chunk_id in chunk_ids
            if chunk_id in found
        ]

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        found = {entry.chunk.chunk_id: entry.vector for entry in self._passing(None)}
        rows = [found[chunk_id] for chunk_id in chunk_ids]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._collection.embedder.dimension)

    def document(self, doc_id: str) -> Document:
        if doc_id not in self._state.documents:
            raise DocumentNotFound(f"no document {doc_id!r} in collection {self._collection.name!r}")
        return self._state.documents[doc_id]

    def documents(self, *, filter: Filter | None = None, after: str = "", limit: int = 100) -> list[DocumentInfo]:
        infos = (self._state.documents[doc_id].info for doc_id in sorted(self._state.documents) if doc_id > after)
        return [info for info in infos if filter is None or filters.matches(filter, info)][:limit]

    def sources(self, *, uris: Sequence[str] | None = None, status: SourceStatus | None = None) -> list[SourceRecord]:
        wanted = None if uris is None else set(uris)
        return [
            source
            for uri, source in sorted(self._state.sources.items())
            if (wanted is None or uri in wanted) and (status is None or source.status == status)
        ]

    def _passing(self, filter: Filter | None) -> Iterator[_Entry]:
        for doc_id, entries in self._state.entries.items():
            if filter is None or filters.matches(filter, self._state.documents[doc_id].info):
                yield from entries


def _top(scores: Mapping[str, float], k: int) -> list[Hit]:
    return ranked({chunk_id: round(score, SCORE_DECIMALS) for chunk_id, score in scores.items()})[:k]


def _fields(document: Document) -> Iterator[str]:
    for name, value in document.metadata.items():
        if value is not None and value != ():
            yield name

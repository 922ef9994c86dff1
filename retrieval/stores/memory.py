"""Exact in-memory store; defines correct behaviour. Everything is a plain loop over immutable state."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from retrieval import bm25, filters
from retrieval.analysis import analyzer
from retrieval.errors import CollectionExists, CollectionNotFound, DocumentNotFound, WriterBusy
from retrieval.filters import Filter
from retrieval.fusion import ranked
from retrieval.ports import DEFAULT_CHUNKING, Replacement, Vectors
from retrieval.records import (
    Chunk,
    Chunking,
    CollectionInfo,
    Document,
    DocumentInfo,
    Edition,
    EmbedderInfo,
    Hit,
    SourceRecord,
    SourceStatus,
    StoredChunk,
)
from retrieval.stores.checks import (
    SCORE_DECIMALS,
    check_complete,
    check_edition,
    check_live,
    check_name,
    check_not_live,
    check_not_live_to_drop,
    check_query_vector,
    check_replacements,
    check_text,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A chunk with all that a search needs of it."""

    chunk: Chunk
    vector: Vectors
    terms: Counter[str]


@dataclass(frozen=True, slots=True)
class _Edition:
    """An edition at one commit."""

    embedder: EmbedderInfo
    chunking: Chunking
    created_at: str
    entries: Mapping[str, tuple[_Entry, ...]] = field(default_factory=dict)
    """By doc_id, of the documents that are indexed in it as they stand."""


@dataclass(frozen=True, slots=True)
class _State:
    """One commit of a collection; never changed, only followed by the next."""

    editions: Mapping[int, _Edition]
    live: int = 1
    last: int = 1
    """The greatest number ever given to an edition."""
    sequence: int = 0
    documents: Mapping[str, Document] = field(default_factory=dict)
    sources: Mapping[str, SourceRecord] = field(default_factory=dict)


class MemoryCollections:
    """Collections that live as long as this object."""

    def __init__(self) -> None:
        self._stores: dict[str, _MemoryCollection] = {}

    def names(self) -> list[str]:
        return sorted(self._stores)

    def create(
        self, name: str, *, embedder: EmbedderInfo, chunking: Chunking = DEFAULT_CHUNKING, language: str = "english"
    ) -> None:
        if check_name(name) in self._stores:
            raise CollectionExists(f"collection {name!r} exists already")
        self._stores[name] = _MemoryCollection(name, language, _Edition(embedder, chunking, _now()))

    def open(self, name: str, *, writable: bool = False) -> "MemoryStore":
        if check_name(name) not in self._stores:
            raise CollectionNotFound(f"no collection {name!r}; there are: {', '.join(self.names()) or 'none'}")
        return MemoryStore(self._stores[name], writable=writable)

    def drop(self, name: str) -> None:
        self.open(name)
        self._stores.pop(name).dropped = True

    def place(self) -> str:
        return "the memory of this process"

    def close(self) -> None:
        """Nothing to release."""


class _MemoryCollection:
    """What all handles to one collection share."""

    def __init__(self, name: str, language: str, first: _Edition) -> None:
        self.name = name
        self.language = language
        self.state = _State(editions={1: first})
        self.writing = threading.Lock()
        self.dropped = False


class MemoryStore:
    """One handle to one collection; see `retrieval.ports.VectorStore`."""

    def __init__(self, collection: _MemoryCollection, *, writable: bool) -> None:
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
            check_replacements(replacements, live.embedder)
            documents, sources = dict(state.documents), dict(state.sources)
            for replacement in replacements:
                documents[replacement.document.doc_id] = replacement.document
                if replacement.source:
                    sources[replacement.source.source_uri] = replacement.source
            replaced = {replacement.document.doc_id for replacement in replacements}
            editions = {number: _without(one, replaced) for number, one in state.editions.items()}
            editions[state.live] = self._with(editions[state.live], replacements)
            self._commit(replace(state, documents=documents, editions=editions, sources=sources))

    def index(self, replacements: Sequence[Replacement], *, edition: int) -> int:
        with self._write() as state:
            one = _edition(state, edition)
            check_not_live(edition, state.live)
            check_replacements(replacements, one.embedder)
            current = [found for found in replacements if _stands(found.document, state.documents)]
            editions = {**state.editions, edition: self._with(one, current)}
            self._commit(replace(state, editions=editions))
        return len(current)

    def delete(self, doc_ids: Sequence[str]) -> list[str]:
        check_text(*doc_ids)
        with self._write() as state:
            gone = {doc_id for doc_id in doc_ids if doc_id in state.documents}
            kept = {uri: source for uri, source in state.sources.items() if source.doc_id not in set(doc_ids)}
            if gone or len(kept) < len(state.sources):
                documents = {doc_id: document for doc_id, document in state.documents.items() if doc_id not in gone}
                editions = {number: _without(one, gone) for number, one in state.editions.items()}
                self._commit(replace(state, documents=documents, editions=editions, sources=kept))
        return sorted(gone)

    def record(self, sources: Sequence[SourceRecord]) -> None:
        check_text(*(value for source in sources for value in astuple(source) if isinstance(value, str)))
        with self._write() as state:
            lines = {**state.sources, **{source.source_uri: source for source in sources}}
            self._commit(replace(state, sources=lines))

    def add_edition(self, *, embedder: EmbedderInfo, chunking: Chunking) -> int:
        with self._write() as state:
            number = state.last + 1
            editions = {**state.editions, number: _Edition(embedder, chunking, _now())}
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

    def _state(self) -> _State:
        if self._collection.dropped:
            raise CollectionNotFound(f"collection {self._collection.name!r} was dropped since it was opened")
        return self._collection.state

    @contextmanager
    def _write(self) -> Iterator[_State]:
        if not self._writable:
            raise WriterBusy(f"collection {self._collection.name!r} was opened for reading; open it with writable=True")
        with self._collection.writing:
            yield self._state()

    def _with(self, edition: _Edition, replacements: Sequence[Replacement]) -> _Edition:
        terms = analyzer(self._collection.language).terms
        added = {
            replacement.document.doc_id: tuple(
                _Entry(chunk, np.array(vector, dtype=np.float32), Counter(terms(chunk.indexed_text)))
                for chunk, vector in zip(replacement.chunks, replacement.vectors, strict=True)
            )
            for replacement in replacements
        }
        return replace(edition, entries={**edition.entries, **added})

    def _commit(self, state: _State) -> None:
        self._collection.state = replace(state, sequence=state.sequence + 1)


class MemorySnapshot:
    """See `retrieval.ports.Snapshot`."""

    def __init__(self, collection: _MemoryCollection, state: _State, edition: int) -> None:
        self._collection = collection
        self._state = state
        self._number = edition
        self._edition = state.editions[edition]

    @property
    def info(self) -> CollectionInfo:
        state = self._state
        editions = tuple(_described(number, one) for number, one in sorted(state.editions.items()))
        return CollectionInfo(
            name=self._collection.name,
            language=self._collection.language,
            documents=len(state.documents),
            sequence=state.sequence,
            fields=tuple(sorted({name for document in state.documents.values() for name in _fields(document)})),
            edition=_described(self._number, self._edition),
            live=state.live,
            editions=editions,
        )

    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        check_query_vector(vector, self._edition.embedder)
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
        check_text(*chunk_ids)
        found = {entry.chunk.chunk_id: entry.chunk for entry in self._passing(None)}
        return [
            StoredChunk(found[chunk_id], self._state.documents[found[chunk_id].doc_id].info)
            for chunk_id in chunk_ids
            if chunk_id in found
        ]

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        check_text(*chunk_ids)
        found = {entry.chunk.chunk_id: entry.vector for entry in self._passing(None)}
        rows = [found[chunk_id] for chunk_id in chunk_ids]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._edition.embedder.dimension)

    def document(self, doc_id: str) -> Document:
        check_text(doc_id)
        if doc_id not in self._state.documents:
            raise DocumentNotFound(f"no document {doc_id!r} in collection {self._collection.name!r}")
        return self._state.documents[doc_id]

    def documents(
        self, *, filter: Filter | None = None, after: str = "", limit: int = 100, unindexed: bool = False
    ) -> list[DocumentInfo]:
        check_text(after)
        every = self._state.documents
        infos = (every[doc_id].info for doc_id in sorted(every) if doc_id > after)
        return [
            info
            for info in infos
            if (filter is None or filters.matches(filter, info))
            and not (unindexed and info.doc_id in self._edition.entries)
        ][:limit]

    def contents(self, doc_ids: Sequence[str]) -> list[Replacement]:
        check_text(*doc_ids)
        lines = {source.doc_id: source for source in self._state.sources.values()}
        found = []
        for doc_id in doc_ids:
            if document := self._state.documents.get(doc_id):
                entries = self._edition.entries.get(doc_id, ())
                chunks = [entry.chunk for entry in entries]
                vectors = self.vectors([chunk.chunk_id for chunk in chunks])
                found.append(Replacement(document, chunks, vectors, lines.get(doc_id)))
        return found

    def sources(self, *, uris: Sequence[str] | None = None, status: SourceStatus | None = None) -> list[SourceRecord]:
        check_text(*(uris or ()))
        wanted = None if uris is None else set(uris)
        return [
            source
            for uri, source in sorted(self._state.sources.items())
            if (wanted is None or uri in wanted) and (status is None or source.status == status)
        ]

    def _passing(self, filter: Filter | None) -> Iterator[_Entry]:
        for doc_id, entries in self._edition.entries.items():
            if filter is None or filters.matches(filter, self._state.documents[doc_id].info):
                yield from entries


def _top(scores: Mapping[str, float], k: int) -> list[Hit]:
    return ranked({chunk_id: round(score, SCORE_DECIMALS) for chunk_id, score in scores.items()})[:k]


def _fields(document: Document) -> Iterator[str]:
    for name, value in document.metadata.items():
        if value is not None and value != ():
            yield name


def _edition(state: _State, number: int) -> _Edition:
    check_edition(number, state.editions)
    return state.editions[number]


def _described(number: int, edition: _Edition) -> Edition:
    return Edition(
        number=number,
        embedder=edition.embedder,
        chunking=edition.chunking,
        documents=len(edition.entries),
        chunks=sum(map(len, edition.entries.values())),
        created_at=edition.created_at,
    )


def _without(edition: _Edition, doc_ids: Set[str]) -> _Edition:
    return replace(edition, entries={key: entry for key, entry in edition.entries.items() if key not in doc_ids})


def _stands(document: Document, documents: Mapping[str, Document]) -> bool:
    """Whether chunks made of `document` fit the one that is stored: they depend on its text and its title."""
    stored = documents.get(document.doc_id)
    return stored is not None and (stored.version, stored.title) == (document.version, document.title)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

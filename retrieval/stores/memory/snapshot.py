"""All reading, of one state."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from retrieval import bm25, filters
from retrieval.errors import DocumentNotFound
from retrieval.filters import Filter
from retrieval.fusion import ranked
from retrieval.ports import Replacement, Vectors
from retrieval.records import (
    CollectionInfo,
    Document,
    DocumentInfo,
    Edition,
    Hit,
    SourceRecord,
    SourceStatus,
    StoredChunk,
    TermScores,
)
from retrieval.stores.checks import (
    SCORE_DECIMALS,
    check_query_vector,
    check_text,
)
from retrieval.stores.memory.state import EditionState, Entry, MemoryCollection, State


class MemorySnapshot:
    """See `retrieval.ports.Snapshot`."""

    def __init__(self, collection: MemoryCollection, state: State, edition: int) -> None:
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
        lexicon = _Lexicon(list(self._passing(None)))
        scores: dict[str, float] = defaultdict(float)
        for term, weight in sorted(terms.items()):
            idf = lexicon.idf(term)
            for entry in self._passing(filter):
                if term in entry.terms:
                    scores[entry.chunk.chunk_id] += weight * idf * lexicon.saturation(entry, term)
        return _top(scores, k)

    def term_scores(self, terms: Mapping[str, float], chunk_ids: Sequence[str]) -> TermScores:
        lexicon, asked = _Lexicon(list(self._passing(None))), self._entries(chunk_ids)
        ascending = tuple(sorted(terms))
        idf = [lexicon.idf(term) for term in ascending]
        scores = [
            [
                terms[term] * rarity * lexicon.saturation(entry, term)
                for term, rarity in zip(ascending, idf, strict=True)
            ]
            for entry in asked
        ]
        return TermScores(
            ascending,
            np.array([lexicon.frequency(term) for term in ascending], dtype=np.int64),
            np.array(idf, dtype=np.float64),
            np.array(scores, dtype=np.float64).reshape(len(asked), len(ascending)),
        )

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        check_text(*chunk_ids)
        found = {entry.chunk.chunk_id: entry.chunk for entry in self._passing(None)}
        return [
            StoredChunk(found[chunk_id], self._state.documents[found[chunk_id].doc_id].info)
            for chunk_id in chunk_ids
            if chunk_id in found
        ]

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        rows = [entry.vector for entry in self._entries(chunk_ids)]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._edition.embedder.dimension)

    def token_vectors(self, chunk_ids: Sequence[str]) -> list[bytes]:
        return [entry.token_vectors for entry in self._entries(chunk_ids)]

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
                blobs = [entry.token_vectors for entry in entries] if self._edition.token_code else []
                found.append(Replacement(document, chunks, vectors, lines.get(doc_id), token_vectors=blobs))
        return found

    def sources(
        self,
        *,
        uris: Sequence[str] | None = None,
        status: SourceStatus | None = None,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[SourceRecord]:
        check_text(*(uris or ()), prefix, after)
        wanted = None if uris is None else set(uris)
        return [
            source
            for uri, source in sorted(self._state.sources.items())
            if (wanted is None or uri in wanted)
            and (status is None or source.status == status)
            and uri.startswith(prefix)
            and uri > after
        ][:limit]

    def _entries(self, chunk_ids: Sequence[str]) -> list[Entry]:
        """In the order given. Raises KeyError."""
        check_text(*chunk_ids)
        found = {entry.chunk.chunk_id: entry for entry in self._passing(None)}
        return [found[chunk_id] for chunk_id in chunk_ids]

    def _passing(self, filter: Filter | None) -> Iterator[Entry]:
        for doc_id, entries in self._edition.entries.items():
            if filter is None or filters.matches(filter, self._state.documents[doc_id].info):
                yield from entries


class _Lexicon:
    """What BM25 knows of all chunks of an edition."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._average = sum(entry.terms.total() for entry in entries) / max(1, len(entries))

    def frequency(self, term: str) -> int:
        return sum(term in entry.terms for entry in self._entries)

    def idf(self, term: str) -> float:
        return bm25.idf(len(self._entries), self.frequency(term))

    def saturation(self, entry: Entry, term: str) -> float:
        """0 for a chunk without the term."""
        if not (tf := entry.terms[term]):
            return 0.0
        return bm25.saturation(float(tf), bm25.length_norm(float(entry.terms.total()), self._average))


def _described(number: int, edition: EditionState) -> Edition:
    return Edition(
        number=number,
        embedder=edition.embedder,
        chunking=edition.chunking,
        documents=len(edition.entries),
        chunks=sum(map(len, edition.entries.values())),
        created_at=edition.created_at,
        token_code=edition.token_code,
    )


def _top(scores: Mapping[str, float], k: int) -> list[Hit]:
    return ranked({chunk_id: round(score, SCORE_DECIMALS) for chunk_id, score in scores.items()})[:k]


def _fields(document: Document) -> Iterator[str]:
    for name, value in document.metadata.items():
        if value is not None and value != ():
            yield name

"""One consistent view of a collection through one edition: the catalog at one commit, and the index that fits it."""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from retrieval.filters import Filter
from retrieval.ports import Replacement, Vectors
from retrieval.records import (
    CollectionInfo,
    Document,
    DocumentInfo,
    Hit,
    SourceRecord,
    SourceStatus,
    StoredChunk,
    TermScores,
)
from retrieval.stores.checks import check_query_vector
from retrieval.stores.faiss.catalog import Catalog
from retrieval.stores.faiss.index import IndexState
from retrieval.stores.postings import Mask


class FaissSnapshot:
    """See `retrieval.ports.Snapshot`."""

    def __init__(self, catalog: Catalog, edition: int, index: Callable[[], IndexState]) -> None:
        self._catalog = catalog
        self._edition = catalog.edition(edition)
        self._number = edition
        self._index = index
        self._passing: dict[str, Mask] = {}
        """By the filter as it is written: filters of 1 and of true are equal to Python, and mean different things."""

    @functools.cached_property
    def info(self) -> CollectionInfo:
        return self._catalog.info(self._number)

    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        check_query_vector(vector, self._edition.embedder)
        return self._index().dense(vector.astype(np.float32), k, self._allowed(filter))

    def search_lexical(self, terms: Mapping[str, float], *, k: int, filter: Filter | None = None) -> list[Hit]:
        return self._index().lexical(terms, k, self._allowed(filter))

    def term_scores(self, terms: Mapping[str, float], chunk_ids: Sequence[str]) -> TermScores:
        keys = self._catalog.chunk_keys(self._number, chunk_ids)
        return self._index().term_scores(terms, np.array([keys[one] for one in chunk_ids], dtype=np.int64))

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        return self._catalog.chunks(self._number, chunk_ids)

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        found = self._catalog.vectors(self._number, chunk_ids)
        rows = [found[chunk_id] for chunk_id in chunk_ids]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._edition.embedder.dimension)

    def token_vectors(self, chunk_ids: Sequence[str]) -> list[bytes]:
        found = self._catalog.token_vectors(self._number, chunk_ids)
        return [found[chunk_id] for chunk_id in chunk_ids]

    def document(self, doc_id: str) -> Document:
        return self._catalog.document(doc_id)

    def documents(
        self, *, filter: Filter | None = None, after: str = "", limit: int = 100, unindexed: bool = False
    ) -> list[DocumentInfo]:
        return self._catalog.documents(self._number, filter=filter, after=after, limit=limit, unindexed=unindexed)

    def contents(self, doc_ids: Sequence[str]) -> list[Replacement]:
        return self._catalog.contents(self._number, doc_ids)

    def sources(
        self,
        *,
        uris: Sequence[str] | None = None,
        status: SourceStatus | None = None,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[SourceRecord]:
        return self._catalog.sources(uris=uris, status=status, prefix=prefix, after=after, limit=limit)

    def _allowed(self, filter: Filter | None) -> Mask | None:
        if filter is None:
            return None
        spelling = repr(filter)
        if spelling not in self._passing:  # the dense and the lexical search of one query share it
            self._passing[spelling] = self._catalog.passing(filter)
        return self._passing[spelling]

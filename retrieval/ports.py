"""The ports of retrieval: what a store, an embedder and a reranker promise, whoever implements them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import Filter
from retrieval.records import (
    Chunk,
    CollectionInfo,
    Document,
    DocumentInfo,
    EmbedderInfo,
    Hit,
    ScoredChunk,
    SourceRecord,
    SourceStatus,
    StoredChunk,
)

Vectors = NDArray[np.float32]
"""Shape (n, dimension), or (dimension,) for one; L2-normalised, so an inner product is a cosine."""


class Tokenizer(Protocol):
    """Cuts text as the embedder does."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span (start, end) of each token of `text`, in order; no special tokens, nothing truncated."""
        ...


class Embedder(Protocol):
    """Text to vectors. Thread-safe. Texts longer than `info.window` are cut by the model: size them before."""

    @property
    def info(self) -> EmbedderInfo: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), float32, L2-normalised."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), float32, L2-normalised, in the order given."""
        ...


class Reranker(Protocol):
    """Second stage: scores a query against a handful of chunks."""

    def rerank(self, query: str, chunks: Sequence[ScoredChunk]) -> Sequence[float]:
        """One score per chunk, in the order given; higher is better, scale is the reranker's own."""
        ...


@dataclass(frozen=True, slots=True)
class Replacement:
    """One document as it shall stand from now on, with all its chunks and their vectors, row by row."""

    document: Document
    chunks: Sequence[Chunk]
    vectors: Vectors
    """Shape (len(chunks), dimension)."""
    source: SourceRecord | None = None
    """The ledger's line, written in the same transaction."""


class Snapshot(Protocol):
    """One consistent view of a collection: what is committed later does not show in it.

    Searches return the k best of what the filter lets through, best first, ties by chunk_id ascending. Scores are
    rounded to 6 decimals, so that stores which add up in another order still agree.
    """

    @property
    def info(self) -> CollectionInfo: ...

    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        """score: cosine, -1..1. `vector` has shape (dimension,)."""
        ...

    def search_lexical(self, terms: Mapping[str, float], *, k: int, filter: Filter | None = None) -> list[Hit]:
        """score: BM25 over analysed terms, each times its weight; chunks without any of the terms are not hits.

        Document frequencies and lengths are those of the whole collection, whatever the filter.
        """
        ...

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        """In the order given; ids that are not there are left out."""
        ...

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """Shape (len(chunk_ids), dimension). An unknown id raises KeyError."""
        ...

    def document(self, doc_id: str) -> Document:
        """The live version, with its text. Raises DocumentNotFound."""
        ...

    def documents(self, *, filter: Filter | None = None, after: str = "", limit: int = 100) -> list[DocumentInfo]:
        """By doc_id ascending, those greater than `after`: pass the last doc_id of a page to get the next."""
        ...

    def sources(self, *, uris: Sequence[str] | None = None, status: SourceStatus | None = None) -> list[SourceRecord]:
        """The ledger's lines by source_uri ascending: all, or those of `uris`, or those with `status`."""
        ...


class VectorStore(Protocol):
    """One collection, opened. Every write is atomic and durable when the call returns."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """A view of what is committed now, by any process. Cheap; open one per query."""
        ...

    def replace(self, replacements: Sequence[Replacement]) -> None:
        """Put each document in the place of its former version, all in one commit."""
        ...

    def delete(self, doc_ids: Sequence[str]) -> list[str]:
        """Remove documents, their chunks and their ledger lines in one commit; returns the ids that were there."""
        ...

    def record(self, sources: Sequence[SourceRecord]) -> None:
        """Write ledger lines for sources that gave no new document (a failure does not touch the old version)."""
        ...

    def close(self) -> None:
        """Release files and locks. Nothing acknowledged depends on it."""
        ...


class Collections(Protocol):
    """Where collections live: a folder, a database, a cluster. Names match `[a-z0-9][a-z0-9_-]{0,62}`."""

    def names(self) -> list[str]:
        """Sorted."""
        ...

    def create(self, name: str, *, embedder: EmbedderInfo, language: str = "english") -> None:
        """Raises CollectionExists."""
        ...

    def open(self, name: str, *, writable: bool = False) -> VectorStore:
        """Raises CollectionNotFound; WriterBusy when `writable` and another process is writing."""
        ...

    def drop(self, name: str) -> None:
        """Remove the collection and all it holds. Raises CollectionNotFound."""
        ...

"""The ports of retrieval: what a store, an embedder and a reranker promise, whoever implements them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import Filter
from retrieval.records import (
    Chunk,
    Chunking,
    CollectionInfo,
    Document,
    DocumentInfo,
    EmbedderInfo,
    Hit,
    QueryPlan,
    SourceRecord,
    SourceStatus,
    StoredChunk,
    TermScores,
    Turn,
)

Vectors = NDArray[np.float32]
"""Shape (n, dimension), or (dimension,) for one; L2-normalised, so an inner product is a cosine."""

DEFAULT_CHUNKING = Chunking()


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


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedder that can also give a vector for each token of a text, for late interaction. Thread-safe.

    The vectors of one text are one blob of bytes, in a code that nobody else looks into.
    """

    @property
    def token_code(self) -> str:
        """Names the code of the blobs, e.g. 'maxsim-1:384'; empty when this model has none."""
        ...

    def embed_documents_with_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        """What `embed_documents` gives, and a blob for each text, never empty, in the order given."""
        ...

    def token_scores(self, query: str, weights: Callable[[str], float], blobs: Sequence[bytes]) -> NDArray[np.float32]:
        """Late-interaction score of a query with each text that was made such a blob; higher is better.

        `weights` tells how much a word of the query counts, 0 for not at all; white space parts words.
        """
        ...


class Embedders(Protocol):
    """The embedders that can be opened here. Editions of collections differ in theirs."""

    def of(self, info: EmbedderInfo) -> Embedder:
        """The embedder that `info` describes, opened once. Raises EmbedderMismatch when it is not to be had."""
        ...


class Reranker(Protocol):
    """Second stage: scores a query against the best chunks of the first one. Thread-safe."""

    @property
    def name(self) -> str:
        """What explanations and run bundles call it, with the model: 'late-interaction', 'http:BAAI/bge-reranker'."""
        ...

    def rerank(self, query: str, chunks: Sequence[StoredChunk], *, snapshot: "SearchView") -> Sequence[float]:
        """One finite score per chunk, in the order given; higher is better, the scale is the reranker's own.

        `snapshot` is the one that the chunks came from, for rerankers that need more of them than their text. Raises
        RerankerError, RerankerUnavailable.
        """
        ...


class QueryPlanner(Protocol):
    """Turns what somebody typed in a conversation into what is searched for. Thread-safe."""

    def plan(self, query: str, *, history: Sequence[Turn] = (), language: str = "english") -> QueryPlan:
        """`history` is what was said before, oldest first; `language` is the collection's. Never fails: a planner
        that cannot do its work falls back to rules, or to the query as it is, and says so in the plan's `note`.
        """
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
    replaces: tuple[str, ...] = ()
    """Ids of other documents that go in the same commit, ledger lines included: what this one was before its source
    moved, attachments that its message has no more. Those that are not there are passed over."""
    token_vectors: Sequence[bytes] = ()
    """A blob for each chunk, in the edition's `token_code`; none when the edition keeps none."""


class SearchView(Protocol):
    """The chunks of one edition, as searched: one consistent view, in which what is committed later does not show.

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

    def term_scores(self, terms: Mapping[str, float], chunk_ids: Sequence[str]) -> TermScores:
        """What each term adds to the BM25 of each of these chunks, in the order given.

        The sum over the terms, rounded to 6 decimals, is the score that `search_lexical` gives the chunk, and 0 for
        one that it would not find. An unknown id raises KeyError.
        """
        ...

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        """In the order given; ids that are not there are left out."""
        ...

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """Shape (len(chunk_ids), dimension). An unknown id raises KeyError."""
        ...

    def token_vectors(self, chunk_ids: Sequence[str]) -> list[bytes]:
        """The blobs of these chunks, in the order given. An unknown id raises KeyError.

        Empty for a chunk without: all of them in an edition without a `token_code`, else one that a check would find.
        """
        ...


class Snapshot(SearchView, Protocol):
    """One consistent view of a collection through one edition, with its documents and the ledger."""

    def document(self, doc_id: str) -> Document:
        """The live version, with its text. Raises DocumentNotFound."""
        ...

    def documents(
        self, *, filter: Filter | None = None, after: str = "", limit: int = 100, unindexed: bool = False
    ) -> list[DocumentInfo]:
        """By doc_id ascending, those greater than `after`: pass the last doc_id of a page to get the next.

        With `unindexed`, only documents that this edition has not indexed as they stand now.
        """
        ...

    def contents(self, doc_ids: Sequence[str]) -> list[Replacement]:
        """What `replace` would take to make these documents again: chunks, vectors and blobs of this edition, ledger
        lines.

        In the order given; ids that are not there are left out.
        """
        ...

    def sources(
        self,
        *,
        uris: Sequence[str] | None = None,
        status: SourceStatus | None = None,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[SourceRecord]:
        """The ledger's lines by source_uri ascending (order of code points): those that fit all that is given.

        `prefix` is what the URI begins with; `after` and `limit` page as in `documents`.
        """
        ...


class VectorStore(Protocol):
    """One collection, opened. Every write is atomic and durable when the call returns.

    Any number of processes may write; their commits follow one another. Writing needs a handle opened `writable`
    (else WriterBusy), and raises WriterBusy when another process keeps its turn for too long.
    """

    def snapshot(self, *, edition: int | None = None) -> AbstractContextManager[Snapshot]:
        """A view of what is committed now, by any process, through the live edition or through `edition`.

        Cheap; open one per query. Raises EditionNotFound, CollectionNotFound when it was dropped since.
        """
        ...

    def replace(self, replacements: Sequence[Replacement], *, edition: int | None = None) -> None:
        """Put each document in the place of its former version, all in one commit.

        Chunks, vectors and blobs are those of the live edition; all other editions have the document unindexed until
        `index` is called. Say for which `edition` they were made: when another one is live by now, this raises
        EditionChanged and nothing is written.
        """
        ...

    def index(self, replacements: Sequence[Replacement], *, edition: int) -> int:
        """Give documents of the collection their chunks in an edition that is not live, in one commit.

        Those that were deleted or replaced since (another version or title) are passed over; returns how many were
        not. Documents, ledger and the live edition stay as they are. Raises EditionNotFound; EditionChanged when
        `edition` is live.
        """
        ...

    def delete(self, doc_ids: Sequence[str], *, leave: Sequence[SourceRecord] = ()) -> list[str]:
        """Remove documents, their chunks in all editions and their ledger lines in one commit.

        `leave` are ledger lines that stand afterwards, such as tombstones. Returns the ids that were there, sorted.
        """
        ...

    def record(self, sources: Sequence[SourceRecord]) -> None:
        """Write ledger lines for sources that gave no new document (a failure does not touch the old version)."""
        ...

    def add_edition(self, *, embedder: EmbedderInfo, chunking: Chunking, token_code: str = "") -> int:
        """Begin an edition, in which nothing is indexed yet; returns its number.

        With a `token_code`, what is indexed in it comes with blobs in that code, and else without.
        """
        ...

    def switch(self, edition: int) -> None:
        """Make `edition` the live one: each snapshot sees the former or this one, never both.

        Raises EditionNotFound; EditionIncomplete when a document is not indexed in it.
        """
        ...

    def drop_edition(self, edition: int) -> None:
        """Remove an edition with its chunks. Raises EditionNotFound; EditionLive for the live one."""
        ...

    def close(self) -> None:
        """Release files and connections. Nothing acknowledged depends on it.

        After writing it first completes the indexes of what was written, which may take minutes for a large
        collection; a process that ends without it leaves that to the next writer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a store that is not as it should be."""

    kind: str
    """One or two words with hyphens, e.g. 'missing-vector', 'wrong-count', 'damaged-segment'."""
    subject: str
    """What is concerned: a doc_id, chunk_id, file or table."""
    detail: str
    """What is there and what should be, in words for people."""
    doc_id: str = ""
    """The document to make again from its text; empty when the store mends it by itself."""
    edition: int | None = None
    """The edition concerned; None for all of them."""


class Keeper(Protocol):
    """What looks after the insides of one collection: index against catalog, counts against rows, remains of the dead.

    For `footnote doctor` and `footnote delete`; no query needs it. Other processes may read and write meanwhile.
    """

    def check(self) -> Iterator[Finding]:
        """Compare every part of the store with every other, through all editions; changes nothing.

        Every chunk has a vector, of length 1, and token vectors where its edition keeps them; every index holds exactly
        the live chunks, and finds them; sequence numbers do not run ahead or stay behind; counts are those of the rows;
        no row belongs to nothing.
        """
        ...

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        """Mend what follows from other rows: indexes, counts, rows that belong to nothing. Returns what was mended.

        Findings with a `doc_id` are left: their document has to be embedded again, by `replace` or `index`.
        """
        ...

    def purge(self) -> None:
        """Remove for good what deleted documents have left: dead entries of indexes, free pages, journals.

        May take as long as building the indexes. What lies outside the store's reach, such as backups or a database's
        archived journals, is not its concern.
        """
        ...

    def traces(self, needles: Sequence[bytes]) -> list[str]:
        """Places, e.g. files or tables, in whose raw content one of `needles` is found; looks past every index."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class Collections(Protocol):
    """Where collections live: a folder, a database, a cluster. Names match `[a-z0-9][a-z0-9_-]{0,62}`."""

    def names(self) -> list[str]:
        """Sorted."""
        ...

    def create(
        self,
        name: str,
        *,
        embedder: EmbedderInfo,
        chunking: Chunking = DEFAULT_CHUNKING,
        language: str = "english",
        token_code: str = "",
    ) -> None:
        """An empty collection with one edition, number 1, live; see `add_edition`. Raises CollectionExists."""
        ...

    def open(self, name: str, *, writable: bool = False) -> VectorStore:
        """Raises CollectionNotFound."""
        ...

    def keeper(self, name: str) -> Keeper:
        """Raises CollectionNotFound."""
        ...

    def drop(self, name: str) -> None:
        """Remove the collection and all it holds. Raises CollectionNotFound."""
        ...

    def place(self) -> str:
        """Where they live and what serves them, versions included, in words for people. No secret."""
        ...

    def close(self) -> None:
        """Release what the collections share, such as connections; stores opened from it are of no use after."""
        ...

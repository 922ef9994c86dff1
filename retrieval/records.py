"""The records that every layer speaks: documents, chunks, hits, what a collection is made of.

Offsets are in characters (Python `str` indices) of `Document.text`; `end` is exclusive. Pages count from 1.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrieval.explanation import Explanation

Scalar = str | int | float | bool
MetadataValue = Scalar | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]
"""What a metadata field can hold. A list is filtered by its members (see `filters`)."""

ElementKind = Literal["title", "heading", "paragraph", "list", "table", "code"]


@dataclass(frozen=True, slots=True)
class Box:
    """Where on a page something stands: in points (1/72 inch) from the left and upper edge of the page as shown."""

    page: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Element:
    """A structural part of a document: `document.text[start:end]`, its kind, and the headings above it."""

    kind: ElementKind
    start: int
    end: int
    headings: tuple[str, ...] = ()
    level: int | None = None
    """Depth of a heading, from 1; None for other kinds."""
    boxes: tuple[Box, ...] = ()
    """Where it stands, one for each page and column that it has a part on; empty where the format has no places."""
    html: str = ""
    """Of a table whose cells are known: the same as HTML, which keeps rows and columns apart. Never searched."""


def text_version(text: str) -> str:
    """The version of a document: the first 16 hex digits of the SHA-256 of its text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document without its text: what a result or a listing shows of it."""

    doc_id: str
    version: str
    source_uri: str
    title: str
    media_type: str
    characters: int
    page_count: int | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is stored and cited: one canonical text, and what is known of its parts.

    `text` holds no lone surrogates and no NUL. `page_starts[i]` is the offset at which page i+1 begins, ascending,
    empty when the format has no pages. Elements are ascending and do not overlap.
    """

    doc_id: str
    source_uri: str
    title: str
    media_type: str
    text: str
    elements: tuple[Element, ...] = ()
    page_starts: tuple[int, ...] = ()
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    """As every store can keep it: a list becomes a tuple, and zero has no sign."""

    def __post_init__(self) -> None:
        metadata = {name: _plain(value) for name, value in self.metadata.items()}
        object.__setattr__(self, "metadata", metadata)  # how a frozen record is completed

    @property
    def version(self) -> str:
        """Derived from the text: the same text is the same version, wherever it came from."""
        return text_version(self.text)

    @property
    def info(self) -> DocumentInfo:
        """The record without its text."""
        return DocumentInfo(
            doc_id=self.doc_id,
            version=self.version,
            source_uri=self.source_uri,
            title=self.title,
            media_type=self.media_type,
            characters=len(self.text),
            page_count=len(self.page_starts) or None,
            metadata=self.metadata,
        )

    def page_at(self, offset: int) -> int | None:
        """The page that holds the character at `offset`, from 1; None for a document without pages."""
        return bisect_right(self.page_starts, offset) or 1 if self.page_starts else None


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value + 0.0 if isinstance(value, float) else value


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a document that is embedded, found and cited as one: `text == document.text[start:end]`."""

    chunk_id: str
    doc_id: str
    version: str
    ordinal: int
    start: int
    end: int
    text: str
    page: int | None = None
    headings: tuple[str, ...] = ()
    context: str = ""
    """Title and heading path, put before the text for embedding and lexical search only; never quoted."""

    @property
    def indexed_text(self) -> str:
        """What the embedder and the lexical index see."""
        return f"{self.context}\n{self.text}" if self.context else self.text


def chunk_id(doc_id: str, ordinal: int) -> str:
    """The id of a document's chunk number `ordinal`; ids of one document sort in reading order."""
    return f"{doc_id}:{ordinal:06d}"


def doc_id_of(chunk_id: str) -> str:
    """The document that a chunk is of."""
    return chunk_id.rpartition(":")[0]


def adjacent_ids(chunk_id: str) -> tuple[str, ...]:
    """The ids that the chunks before and after this one have, if there are any."""
    doc_id, _, ordinal = chunk_id.rpartition(":")
    return tuple(f"{doc_id}:{near:06d}" for near in (int(ordinal) - 1, int(ordinal) + 1) if near >= 0)


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of one search in one store: higher score is better."""

    chunk_id: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class TermScores:
    """What terms of a query add to the BM25 scores of some chunks, and how rare each of them is in the edition."""

    terms: tuple[str, ...]
    """Ascending."""
    chunks: NDArray[np.int64]
    """Shape (len(terms),): how many chunks of the edition hold each term."""
    idf: NDArray[np.float64]
    """Shape (len(terms),): `bm25.idf` of these, without the term's weight; the greatest for a term of no chunk."""
    scores: NDArray[np.float64]
    """Shape (chunks asked for, len(terms)): what a term, times its weight, adds to a chunk; 0 where it is not."""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk with the document it belongs to."""

    chunk: Chunk
    document: DocumentInfo


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """A retrieved chunk: its final score and, by stage name, the scores that led to it."""

    chunk: Chunk
    document: DocumentInfo
    score: float
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """Something said earlier in a conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """What is searched for in place of what was typed."""

    query: str
    """The question, complete in itself: pronouns and ellipses filled in from the conversation."""
    parts: tuple[str, ...] = ()
    """The questions that it is made of when there are several, each complete in itself; empty when it is one."""
    planner: str = "none"
    """Who made the plan: 'none', 'rules', or a chat model's name."""
    note: str = ""
    """Why it is not what it could be, e.g. that the chat model failed and rules were used; for people."""


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """What `Retriever.retrieve` returns: the chunks, best first, and what it took to find them."""

    query: str
    """As it was asked; `plan` says what was searched for."""
    query_vector: NDArray[np.float32]
    """Shape (dimension,), of `plan.query`, before any feedback."""
    chunks: tuple[ScoredChunk, ...]
    timings: Mapping[str, float]
    """Seconds by stage."""
    plan: QueryPlan = QueryPlan("")
    explanation: Explanation | None = None
    """When it was asked for."""
    notes: tuple[str, ...] = ()
    """What did not go as configured, for people: a reranker that was left out, a chat model that did not answer."""


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """What makes two embedders interchangeable; stored in each edition, so that it can be found again."""

    name: str
    sha256: str
    """Of the model file; empty for a service that does not tell."""
    dimension: int
    window: int
    """Most tokens that the model reads, special tokens included."""
    pooling: Literal["mean", "cls", "service"] = "mean"
    query_prefix: str = ""
    document_prefix: str = ""
    adapter: str = field(default="", compare=False)
    """Which setting `retrieval.embedder` opened it; with `model`, how to open it again."""
    model: str = field(default="", compare=False)
    """The setting `retrieval.model` that it was opened by: a name or a folder."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """How the documents of an edition are cut; sizes are in tokens of its embedder."""

    chunk_tokens: int = 200
    context_tokens: int = 32
    overlap_tokens: int = 0
    algorithm: int = 1
    """Version of `ingest.chunking.split`: chunks of two algorithms do not belong into one edition."""


@dataclass(frozen=True, slots=True)
class Edition:
    """One embedder x one chunking over the documents of a collection. One edition is live: queries read it."""

    number: int
    """From 1; never given twice in a collection."""
    embedder: EmbedderInfo
    chunking: Chunking
    documents: int
    """Indexed in this edition; of the live one, all of the collection's."""
    chunks: int
    created_at: str
    """ISO 8601, UTC."""
    token_code: str = ""
    """In which code it keeps a vector for each token of a chunk, see `ports.TokenEmbedder`; empty: it keeps none."""


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection holds at one moment, seen through one of its editions."""

    name: str
    language: str
    """Of the lexical analysis: a Snowball stemmer's name, e.g. 'english', or 'none'."""
    documents: int
    sequence: int
    """Grows with each commit."""
    fields: tuple[str, ...]
    """Metadata fields that at least one document has, sorted."""
    edition: Edition
    """The one that this view searches."""
    live: int
    """Number of the live edition."""
    editions: tuple[Edition, ...]
    """All of them, by number."""

    @property
    def embedder(self) -> EmbedderInfo:
        """Of the edition that this view searches."""
        return self.edition.embedder

    @property
    def chunks(self) -> int:
        """Of the edition that this view searches."""
        return self.edition.chunks


SourceStatus = Literal["ingested", "failed", "unsupported", "needs-ocr", "deleted"]
"""deleted: a tombstone. Somebody has removed the document on purpose; a sync does not bring it back."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The ledger's line for one source: what it was when last seen and what became of it."""

    source_uri: str
    status: SourceStatus
    doc_id: str
    content_hash: str
    """SHA-256 of the source's bytes, hex; empty when it could not be read."""
    fingerprint: str
    """Of the parser and of what was given with the source: when it differs, the source is processed again. Begins with
    the parser and its version, then a blank."""
    size: int
    media_type: str = ""
    chunks: int = 0
    error: str = ""
    recorded_at: str = ""
    """ISO 8601, UTC."""
    reason: str = ""
    """Of a source that was not ingested, one word: see `ingest.ledger.Reason`."""
    validator: str = ""
    """What tells without reading whether the source has changed: times and size of a file, an ETag; empty when
    nothing does."""
    parent: str = ""
    """URI of the archive or message that the source came in; empty for one that stands by itself."""
    version: str = ""
    """Of the document that was made of it (`Document.version`)."""
    pages: int = 0
    """0 for formats without pages."""
    attempts: int = 0
    """How often it was tried since it last changed, the successful time included."""
    seconds: tuple[tuple[str, float], ...] = ()
    """What each stage took: (stage, seconds) in the order of the work."""

    @property
    def parser(self) -> str:
        """Which parser read it, with its version, e.g. 'pdf/2.1'; empty when none was reached."""
        return self.fingerprint.partition(" ")[0]

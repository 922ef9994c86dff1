"""What one commit of a collection consists of."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from retrieval.ports import Vectors
from retrieval.records import (
    Chunk,
    Chunking,
    Document,
    EmbedderInfo,
    SourceRecord,
)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A chunk with all that a search needs of it."""

    chunk: Chunk
    vector: Vectors
    terms: Counter[str]
    token_vectors: bytes = b""
    """Empty where the edition keeps none."""


@dataclass(frozen=True, slots=True)
class EditionState:
    """An edition at one commit."""

    embedder: EmbedderInfo
    chunking: Chunking
    created_at: str
    token_code: str = ""
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    """By doc_id, of the documents that are indexed in it as they stand."""


@dataclass(frozen=True, slots=True)
class State:
    """One commit of a collection; never changed, only followed by the next."""

    editions: Mapping[int, EditionState]
    live: int = 1
    last: int = 1
    """The greatest number ever given to an edition."""
    sequence: int = 0
    documents: Mapping[str, Document] = field(default_factory=dict)
    sources: Mapping[str, SourceRecord] = field(default_factory=dict)


class MemoryCollection:
    """What all handles to one collection share."""

    def __init__(self, name: str, language: str, first: EditionState) -> None:
        self.name = name
        self.language = language
        self.state = State(editions={1: first})
        self.writing = threading.Lock()
        self.dropped = False

"""Document -> chunks -> vectors, as one edition of a collection has them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ingest import chunking
from retrieval.errors import EmbedderMismatch
from retrieval.ports import Embedder, Embedders, TokenEmbedder, Tokenizer, Vectors
from retrieval.records import Chunk, Chunking, Document, Edition

EMBED_SLICE = 256
"""Chunks between two signs of progress."""


def _ignore(embedded: int) -> None:
    """For callers that do not watch."""


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts documents for an edition. Can be pickled, so that other processes do it."""

    edition: int
    tokenizer: Tokenizer
    window: int
    chunking: Chunking

    def split(self, document: Document) -> list[Chunk]:
        """The chunks of a document, in reading order."""
        return chunking.split(document, tokenizer=self.tokenizer, window=self.window, settings=self.chunking)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What the embedder makes of chunks for an edition, row by row."""

    vectors: Vectors
    """Shape (n, dimension)."""
    token_vectors: Sequence[bytes] = ()
    """A blob for each, or none at all where the edition keeps none."""

    def rows(self, first: int, last: int) -> "Embedding":
        """Those from `first` up to `last` (exclusive)."""
        return Embedding(self.vectors[first:last], self.token_vectors[first:last])

    def divided(self, counts: Sequence[int]) -> "Iterator[Embedding]":
        """One for each document, by how many chunks they have."""
        last = 0
        for count in counts:
            first, last = last, last + count
            yield self.rows(first, last)

    @classmethod
    def joined(cls, parts: "Sequence[Embedding]", *, like: "Embedding") -> "Embedding":
        """The rows of all parts, one after the other; none of as many dimensions as `like` when there are no parts."""
        vectors = np.concatenate([like.vectors[:0], *(part.vectors for part in parts)])
        return cls(vectors, [blob for part in parts for blob in part.token_vectors])


class Indexer:
    """Cuts and embeds for `edition`, with the embedder that it names. Raises EmbedderMismatch when that is not here."""

    def __init__(self, edition: Edition, embedders: Embedders) -> None:
        self.edition = edition.number
        self.embedder = embedders.of(edition.embedder)
        self.cutter = Cutter(edition.number, self.embedder.tokenizer, _room(self.embedder), edition.chunking)
        self._with_tokens = None
        if edition.token_code:
            self._with_tokens = token_embedder(self.embedder, edition.token_code, of=f"edition {edition.number}")

    def split(self, document: Document) -> list[Chunk]:
        """The chunks of a document, in reading order."""
        return self.cutter.split(document)

    def embed(self, chunks: Sequence[Chunk], on_embedded: Callable[[int], None] = _ignore) -> Embedding:
        """What the edition keeps of the chunks. `on_embedded` hears of every few texts, how many they were."""
        vectors = np.empty((len(chunks), self.embedder.info.dimension), dtype=np.float32)
        blobs: list[bytes] = []
        for i in range(0, len(chunks), EMBED_SLICE):
            texts = [chunk.indexed_text for chunk in chunks[i : i + EMBED_SLICE]]
            if self._with_tokens is None:
                vectors[i : i + len(texts)] = self.embedder.embed_documents(texts)
            else:
                vectors[i : i + len(texts)], some = self._with_tokens.embed_documents_with_tokens(texts)
                blobs += some
            on_embedded(len(texts))
        return Embedding(vectors, blobs)


def token_code(embedder: Embedder, *, wanted: bool = True) -> str:
    """In which code a new edition of this embedder keeps token vectors; empty when it cannot, or is not wanted to."""
    return embedder.token_code if wanted and isinstance(embedder, TokenEmbedder) else ""


def token_embedder(embedder: Embedder, code: str, *, of: str) -> TokenEmbedder:
    """The same, as one that makes token vectors in that code, of what `of` names. Raises EmbedderMismatch."""
    if isinstance(embedder, TokenEmbedder) and embedder.token_code == code:
        return embedder
    made = token_code(embedder)
    raise EmbedderMismatch(
        f"{of} keeps token vectors in the code {code!r}, but {embedder.info.name!r} "
        f"makes {f'the code {made!r}' if made else 'none'} here: bring back the model and settings that it was made "
        "with, or `footnote reindex` the collection"
    )


def _room(embedder: Embedder) -> int:
    """Tokens that a chunk and its context may take: the window, less what the embedder puts before a document."""
    prefix = embedder.info.document_prefix
    return embedder.info.window - (len(embedder.tokenizer.offsets(prefix)) if prefix else 0)

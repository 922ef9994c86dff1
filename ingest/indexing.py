"""Document -> chunks -> vectors, as one edition of a collection has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ingest import chunking
from retrieval.ports import Embedders, Tokenizer, Vectors
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


class Indexer:
    """Cuts and embeds for `edition`, with the embedder that it names. Raises EmbedderMismatch when that is not here."""

    def __init__(self, edition: Edition, embedders: Embedders) -> None:
        self.edition = edition.number
        self.embedder = embedders.of(edition.embedder)
        self.cutter = Cutter(edition.number, self.embedder.tokenizer, self.embedder.info.window, edition.chunking)

    def split(self, document: Document) -> list[Chunk]:
        """The chunks of a document, in reading order."""
        return self.cutter.split(document)

    def embed(self, chunks: Sequence[Chunk], on_embedded: Callable[[int], None] = _ignore) -> Vectors:
        """Shape (len(chunks), dimension). `on_embedded` hears of every few texts, how many they were."""
        vectors = np.empty((len(chunks), self.embedder.info.dimension), dtype=np.float32)
        for i in range(0, len(chunks), EMBED_SLICE):
            texts = [chunk.indexed_text for chunk in chunks[i : i + EMBED_SLICE]]
            vectors[i : i + len(texts)] = self.embedder.embed_documents(texts)
            on_embedded(len(texts))
        return vectors

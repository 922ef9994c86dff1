"""Chunks as an edition's embedder wants them."""

from dataclasses import replace

from ingest.chunking import SPECIAL_TOKENS
from ingest.indexing import Indexer
from retrieval.ports import Embedder
from retrieval.records import Chunking, Document, Edition, EmbedderInfo
from tests.fakes import FakeEmbedder

PREFIX = "passage of a manual: "
TEXT = "The pump opens at forty bar. " * 60


class _Embedders:
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def of(self, info: EmbedderInfo) -> Embedder:
        return self._embedder


def test_a_chunk_and_what_is_put_before_it_fit_in_the_window() -> None:
    """The embedder's prefix takes tokens, too: without room for it the end of each chunk would be lost."""
    embedder = FakeEmbedder(window=32)
    embedder.info = replace(embedder.info, document_prefix=PREFIX)
    edition = Edition(1, embedder.info, Chunking(chunk_tokens=200), documents=0, chunks=0, created_at="")
    document = Document("d", "d.txt", "Pumps of the first and second kind in old ships", "text/plain", TEXT)
    chunks = Indexer(edition, _Embedders(embedder)).split(document)
    sizes = [len(embedder.tokenizer.offsets(PREFIX + chunk.indexed_text)) for chunk in chunks]
    assert max(sizes) <= embedder.info.window - SPECIAL_TOKENS
    assert max(sizes) > embedder.info.window // 2

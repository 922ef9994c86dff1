"""Reindexes slowly, and says when it has begun and how it ended; `test_reindex.py` kills it."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ingest.reindex import reindex
from retrieval.build import build_embedders
from retrieval.ports import Vectors
from retrieval.records import Chunking
from retrieval.settings import RetrievalSettings
from retrieval.stores.faiss import FaissCollections, index_writer
from tests.fakes import FakeEmbedder

CHUNKING = Chunking(chunk_tokens=12, context_tokens=0)


class SlowEmbedder(FakeEmbedder):
    """The new model."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(dimension=32, name="slow")
        self.seconds = seconds

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        time.sleep(self.seconds)
        return super().embed_documents(texts)


if __name__ == "__main__":
    index_writer.FLUSH_CHUNKS = 300  # so that kills fall into flushes and merges too
    store = FaissCollections(Path(sys.argv[1])).open("c", writable=True)
    embedder = SlowEmbedder(float(sys.argv[2]))
    print("begun", flush=True)
    embedders = build_embedders(RetrievalSettings(), embedder)
    report = reindex(store, embedders, embedder=embedder.info, chunking=CHUNKING)
    print(report.outcome, report.edition, report.continued, report.documents, flush=True)

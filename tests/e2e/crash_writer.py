"""Writes documents for ever and says after each commit what is durable now; `test_crash.py` kills it.

With a third argument, other writers are at it in the same collection: documents are named after it, and what is read of
the chunks that they replaced is still being built into segments when the next commit comes.
"""

import sys
from pathlib import Path

from retrieval.stores.faiss import FaissCollections, index_writer
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

index_writer.FLUSH_CHUNKS = 40  # so that kills fall into flushes and merges too
tokens = FakeEmbedder(token_code="fake-1")
name = sys.argv[3] if len(sys.argv) > 3 else "doc"
store = FaissCollections(Path(sys.argv[1])).open("c", writable=True)
for n in range(int(sys.argv[2]), 1_000_000):
    parts = [f"pump number {n} part {i}" for i in range(5)]
    store.replace([replacement(f"{name}{n % 60:02d}", parts, embedder=tokens)])
    print(n, flush=True)

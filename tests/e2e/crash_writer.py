"""Writes documents for ever and says after each commit what is durable now; `test_crash.py` kills it."""

import sys
from pathlib import Path

from retrieval.stores.faiss import FaissCollections, index_writer
from tests.corpus import replacement

index_writer.FLUSH_CHUNKS = 40  # so that kills fall into flushes and merges too
store = FaissCollections(Path(sys.argv[1])).open("c", writable=True)
for n in range(int(sys.argv[2]), 1_000_000):
    store.replace([replacement(f"doc{n % 60:02d}", [f"pump number {n} part {i}" for i in range(5)])])
    print(n, flush=True)

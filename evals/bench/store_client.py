"""One process that opens a collection and searches it: what `evals.bench.stores` measures of a store.

A process of its own, so that nothing that loading left in memory or in caches counts for or against a store.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from evals.bench.store_places import SHARE_FIELD
from retrieval.analysis import analyzer
from retrieval.build import build_collections, build_retriever
from retrieval.filters import Compare, Filter
from retrieval.ports import Embedder, Tokenizer, Vectors
from retrieval.records import EmbedderInfo
from retrieval.settings import RetrievalSettings

SHARES = (100, 50, 10, 1)
"""Percent of the documents that a filter keeps; 100 is no filter."""
DEPTH = 100


class ReadyEmbedder:
    """Gives out vectors made beforehand, for any edition, so that a retriever is timed without its embedding."""

    def __init__(self, info: EmbedderInfo, queries: Sequence[str], vectors: Vectors) -> None:
        self.info = info
        self._vectors = dict(zip(queries, vectors, strict=True))

    def of(self, info: EmbedderInfo) -> Embedder:  # noqa: ARG002  # it stands for the one that made the vectors
        return self

    @property
    def tokenizer(self) -> Tokenizer:
        raise NotImplementedError("made for queries whose vectors are ready")

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return np.array([self._vectors[text] for text in texts])

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self.embed_queries(texts)


@dataclass(frozen=True, slots=True)
class Times:
    """Of one kind of search, in milliseconds."""

    p50: float
    p95: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        return cls(*(1000 * float(value) for value in np.percentile(seconds, (50, 95))))


@dataclass(frozen=True, slots=True)
class Client:
    """What one process saw of a store."""

    found: dict[int, dict[int, list[list[str]]]]
    """By percent kept and k: the chunk_ids of each query's dense search."""
    times: dict[str, Times]
    first_ms: float
    """From opening the collection to the results of the first hybrid query."""
    resident: float
    """MiB after all queries, beyond what the process took before it opened the collection."""


def measure(
    settings: RetrievalSettings, collection: str, info: EmbedderInfo, queries: Sequence[str], vectors: Vectors
) -> Client:
    """Search the way an application does: one snapshot per query, everything else as it comes."""
    before = _resident()
    begin = time.perf_counter()
    collections = build_collections(settings)
    store = collections.open(collection)
    retriever = build_retriever(store, ReadyEmbedder(info, queries, vectors), settings)
    retriever.retrieve(queries[0])
    first = time.perf_counter() - begin

    def dense(i: int, k: int = DEPTH, only: Filter | None = None) -> list[str]:
        with store.snapshot() as snapshot:
            return [hit.chunk_id for hit in snapshot.search_dense(vectors[i], k=k, filter=only)]

    def lexical(i: int) -> None:
        with store.snapshot() as snapshot:
            terms = Counter(analyzer(snapshot.info.language).terms(queries[i]))
            snapshot.search_lexical({term: float(n) for term, n in terms.items()}, k=DEPTH)

    def hybrid(i: int, only: Filter | None = None) -> None:
        retriever.retrieve(queries[i], filter=only)

    searches: dict[str, Callable[[int], object]] = {"dense": dense, "lexical": lexical, "hybrid": hybrid}
    searches |= {f"hybrid {share}%": partial(hybrid, only=kept(share)) for share in SHARES[1:]}
    times = {name: Times.of(_seconds(search, len(queries))) for name, search in searches.items()}
    found = {
        share: {k: [dense(i, k, kept(share)) for i in range(len(queries))] for k in (10, DEPTH)} for share in SHARES
    }
    resident = _resident() - before
    store.close()
    collections.close()
    return Client(found, times, 1000 * first, resident)


def kept(share: int) -> Filter | None:
    """The filter that keeps `share` percent of the documents."""
    return None if share == 100 else Compare(SHARE_FIELD, "$lt", share)


def _seconds(search: Callable[[int], object], queries: int) -> list[float]:
    """Of each query, once the caches are as they will be."""
    for i in range(queries):
        search(i)
    seconds = []
    for i in range(queries):
        begin = time.perf_counter()
        search(i)
        seconds.append(time.perf_counter() - begin)
    return seconds


def _resident() -> float:
    """MiB of memory that this process holds now, mapped files included as far as they are read."""
    if sys.platform != "linux":
        return float("nan")
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024

"""The embedded store's dense index alone, by kind: recall and latency of approximate search against exact NumPy.

    python -m evals.bench.dense --data FOLDER --collection NAME [--queries FILE.jsonl]

FOLDER holds a collection of the embedded store (`retrieval.path`). Its vectors go into a temporary collection for each
value of `retrieval.faiss_index`, without texts, in batches of documents as an ingestion writes them. Queries are the
`text` of FILE's lines and titles of documents. Searches go through the port, k = 10 and 100, with filters that keep a
share of the documents, and once more after a part of them was deleted. A chunk that ties with the last of the k best
counts as found. Times are of single searches for k = 100, with the filter's own work.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from evals.bench.stores import TIES, Material, read_material
from retrieval.build import build_collections, build_embedders
from retrieval.filters import Compare
from retrieval.ports import Replacement, VectorStore
from retrieval.records import Chunk, Document, Hit
from retrieval.settings import RetrievalSettings

Cosines = NDArray[np.float32]
KINDS = ("flat", "hnsw", "compact")
SHARES = (100, 50, 10, 1)
"""Percent of the documents that a filter keeps; 100 is no filter."""
DELETED = 20
"""Percent of the documents that are deleted at last."""
CHUNKS = 16
"""In each of the documents made here."""
BATCH = 256
"""Chunks per commit, as an ingestion has them."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one kind of index in one situation."""

    kind: str
    situation: str
    recall_10: float
    recall_100: float
    p50: float
    """Milliseconds, as is p95."""
    p95: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("footnote-data"))
    parser.add_argument("--collection", default="default")
    parser.add_argument("--chunks", type=int, help="take documents until they have so many chunks")
    parser.add_argument("--queries", type=Path, help='lines such as {"text": "How do I ...?"}')
    parser.add_argument("--titles", type=int, default=300, help="titles of documents that serve as queries, too")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args(arguments)
    source = RetrievalSettings(path=options.data)
    lines = options.queries.read_text("utf-8").splitlines() if options.queries else []
    material = read_material(
        source,
        options.collection,
        embedders=build_embedders(source),
        queries=[json.loads(line)["text"] for line in lines if line.strip()],
        titles=options.titles,
        chunks=options.chunks,
    )
    console = Console()
    count, dimension = material.vectors.shape
    cosines = material.query_vectors @ material.vectors.T
    console.print(f"{count:,} vectors of {dimension} dimensions, {len(material.queries)} queries")
    console.print(f"exact search in NumPy: {1000 * exact_seconds(material):.2f} ms")
    table = Table("index", "situation", "recall@10", "recall@100", "p50 ms", "p95 ms")
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            settings = RetrievalSettings.model_validate({"path": folder, "faiss_index": kind})
            seconds, size, rows = measure(settings, material, cosines)
            console.print(f"{kind}: written in {seconds:.1f} s, segments of {size / count:,.0f} bytes per vector")
        for row in rows:
            table.add_row(
                row.kind, row.situation, f"{row.recall_10:.4f}", f"{row.recall_100:.4f}",
                f"{row.p50:.2f}", f"{row.p95:.2f}",
            )  # fmt: skip
    console.print(table)


def exact_seconds(material: Material) -> float:
    """Median time of finding the 100 best by one product of a matrix and a vector."""

    def search(vector: NDArray[np.float32]) -> float:
        begin = time.perf_counter()
        cosines = material.vectors @ vector
        np.argpartition(cosines, -min(100, len(cosines)))
        return time.perf_counter() - begin

    return float(np.median([search(vector) for vector in material.query_vectors]))


def measure(settings: RetrievalSettings, material: Material, cosines: Cosines) -> tuple[float, int, list[Row]]:
    """Fill an empty place and search there: seconds of writing, bytes of segments, and what was found how fast.

    `cosines` of shape (queries, chunks) says what is right.
    """
    collections = build_collections(settings)
    collections.create("bench", embedder=material.info)
    store = collections.open("bench", writable=True)
    seconds = _fill(store, material)
    store.close()
    size = sum(path.stat().st_size for path in settings.path.glob("*/segments/**/*") if path.is_file())
    store = collections.open("bench", writable=True)
    shares = _shares(len(material.vectors))
    rows = []
    for share in SHARES:
        situation = "all" if share == 100 else f"filter keeps {share}%"
        rows.append(_search(store, settings.faiss_index, situation, material, cosines, shares < share, share))
    kept = shares < 100 - DELETED
    store.delete([f"{number:08d}" for number in np.flatnonzero(~kept[::CHUNKS])])
    rows.append(_search(store, settings.faiss_index, f"{DELETED}% deleted", material, cosines, kept, 100))
    store.close()
    return seconds, size, rows


def _fill(store: VectorStore, material: Material) -> float:
    begin = time.perf_counter()
    batch: list[Replacement] = []
    for replacement in _documents(material):
        batch.append(replacement)
        if len(batch) * CHUNKS >= BATCH:
            store.replace(batch)
            batch = []
    store.replace(batch)
    return time.perf_counter() - begin


def _documents(material: Material) -> Iterator[Replacement]:
    """The vectors in documents whose chunks are one letter each, and whose ids are their row numbers."""
    shares = _shares(len(material.vectors))
    for number, first in enumerate(range(0, len(material.vectors), CHUNKS)):
        vectors = material.vectors[first : first + CHUNKS]
        doc_id = f"{number:08d}"
        metadata = {"share": int(shares[first])}
        document = Document(doc_id, f"file:///{doc_id}", doc_id, "text/plain", "x" * len(vectors), metadata=metadata)
        chunks = [Chunk(f"{first + i:09d}", doc_id, document.version, i, i, i + 1, "x") for i in range(len(vectors))]
        yield Replacement(document, chunks, vectors)


def _shares(count: int) -> NDArray[np.int64]:
    """Shape (count,): 0 to 99 for each chunk, the same for those of one document, each as often as the others."""
    return np.arange(count) // CHUNKS * 37 % 100


def _search(
    store: VectorStore,
    kind: str,
    situation: str,
    material: Material,
    cosines: Cosines,
    kept: NDArray[np.bool_],
    share: int,
) -> Row:
    recalls: dict[int, list[float]] = {10: [], 100: []}
    seconds = []
    passing = None if share == 100 else Compare("share", "$lt", share)
    numbers = np.flatnonzero(kept)
    with store.snapshot() as snapshot:
        snapshot.search_dense(material.query_vectors[0], k=10)  # the index is read from disk
    for vector, exact in zip(material.query_vectors, cosines, strict=True):
        for k, recall in recalls.items():
            begin = time.perf_counter()
            with store.snapshot() as snapshot:
                hits = snapshot.search_dense(vector, k=k, filter=passing)
            if k == 100:
                seconds.append(time.perf_counter() - begin)
            recall.append(_recall(hits, exact, numbers, k))
    p50, p95 = np.percentile(seconds, (50, 95)) * 1000
    return Row(kind, situation, float(np.mean(recalls[10])), float(np.mean(recalls[100])), float(p50), float(p95))


def _recall(hits: Sequence[Hit], cosines: Cosines, numbers: NDArray[np.int64], k: int) -> float:
    """Share of the k best of `numbers` among the hits."""
    passing = cosines[numbers]
    wanted = min(k, len(passing))
    worst = np.partition(passing, -wanted)[-wanted] - TIES
    found = cosines[[int(hit.chunk_id) for hit in hits]]
    return float((found >= worst).sum()) / wanted


if __name__ == "__main__":
    main()

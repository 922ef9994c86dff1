"""What explaining costs: the same searches with and without, one after the other, in one process.

    python -m evals.bench.explain [FOLDER --collection NAME] [--queries N]

FOLDER is one that `footnote ingest` wrote (`retrieval.path`); without it, a collection of 20,000 chunks of made-up text
is built in a temporary folder. Queries are sentences of the collection's own documents. A machine with other work makes
both slower, so the searches take turns and what counts is the ratio of their medians.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.build import build_collections, build_embedder, build_embedders, build_retriever
from retrieval.ports import Embedder, Replacement, Snapshot, TokenEmbedder
from retrieval.records import Chunk, Document, chunk_id
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings

CHUNKS = 20_000
CHUNKS_PER_DOCUMENT = 10
WORDS = 5_000
"""Distinct words of the made-up texts; how often each is drawn falls as 1 / rank (Zipf)."""
WORDS_PER_CHUNK = 120
BLOBS = 50
"""Texts whose token vectors are made."""
WARM_UP = 10
K = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--collection", default="default")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--no-late", action="store_true", help="without late interaction: the cheapest search")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        settings = RetrievalSettings(path=options.folder or Path(made))
        if options.no_late:
            settings = settings.model_copy(update={"late_weight": 0.0})
        embedder = build_embedder(settings)
        if options.folder is None:
            build(settings, options.collection, embedder)
        collections = build_collections(settings)
        store = collections.open(options.collection)
        retriever = build_retriever(store, build_embedders(settings, embedder), settings)
        with store.snapshot() as snapshot:
            measure(retriever, snapshot, _queries(snapshot, options.queries + WARM_UP))
        store.close()
        collections.close()


def measure(retriever: Retriever, snapshot: Snapshot, queries: Sequence[str]) -> None:
    """Print both medians and their ratio."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    candidates = []
    for number, query in enumerate(queries):
        for explain in (number % 2 == 0, number % 2 == 1):  # what comes second finds the caches warm
            begin = time.perf_counter()
            found = retriever.retrieve(query, k=K, snapshot=snapshot, explain=explain)
            if number >= WARM_UP:
                seconds[explain].append(time.perf_counter() - begin)
            if found.explanation:
                candidates.append(len(found.explanation.candidates))
    plain, explained = (1000 * statistics.median(seconds[explain]) for explain in (False, True))
    print(f"{snapshot.info.chunks:,} chunks, {len(queries) - WARM_UP} queries, k = {K}")
    print(f"search            p50 {plain:6.2f} ms")
    print(f"search, explained p50 {explained:6.2f} ms, {statistics.median(candidates):.0f} candidates")
    print(f"explaining costs  {100 * (explained / plain - 1):+.1f}%")


def build(settings: RetrievalSettings, name: str, embedder: Embedder) -> None:
    """A collection of made-up text; vectors are drawn, not embedded, for that would take minutes.

    Token vectors are those of a few of the texts, again and again: comparing them costs as much as if they were right.
    """
    collections = build_collections(settings)
    code = embedder.token_code if isinstance(embedder, TokenEmbedder) else ""
    collections.create(name, embedder=embedder.info, token_code=code)
    store = collections.open(name, writable=True)
    draw = np.random.default_rng(7)
    words = np.array([f"{'bcdfglmnprst'[i % 12]}{'aeiou'[i % 5]}{i:x}" for i in range(WORDS)])
    shares = 1.0 / np.arange(1, WORDS + 1)
    shares /= shares.sum()
    documents = CHUNKS // CHUNKS_PER_DOCUMENT
    texts = [" ".join(draw.choice(words, WORDS_PER_CHUNK, p=shares)) for _ in range(BLOBS)]
    blobs = embedder.embed_documents_with_tokens(texts)[1] if code and isinstance(embedder, TokenEmbedder) else []
    for first in range(0, documents, 200):
        numbers = range(first, min(first + 200, documents))
        store.replace(
            [_document(f"made-{number:05d}", words, shares, embedder.info.dimension, blobs, draw) for number in numbers]
        )
    store.close()
    collections.close()


def _document(
    doc_id: str,
    words: NDArray[np.str_],
    shares: NDArray[np.float64],
    dimension: int,
    blobs: Sequence[bytes],
    draw: np.random.Generator,
) -> Replacement:
    texts = [" ".join(draw.choice(words, WORDS_PER_CHUNK, p=shares)) for _ in range(CHUNKS_PER_DOCUMENT)]
    document = Document(doc_id, f"file:///made/{doc_id}.txt", doc_id, "text/plain", "\n".join(texts))
    chunks, start = [], 0
    for ordinal, text in enumerate(texts):
        place = chunk_id(doc_id, ordinal)
        chunks.append(Chunk(place, doc_id, document.version, ordinal, start, start + len(text), text))
        start += len(text) + 1
    vectors = draw.standard_normal((len(texts), dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = [blobs[at] for at in draw.integers(len(blobs), size=len(texts))] if blobs else []
    return Replacement(document, chunks, vectors, token_vectors=kept)


def _queries(snapshot: Snapshot, number: int) -> list[str]:
    """Runs of eight words out of documents, the same each time."""
    draw = random.Random(7)
    documents = snapshot.documents(limit=min(number, 1_000))
    queries: list[str] = []
    while len(queries) < number:
        words = snapshot.document(draw.choice(documents).doc_id).text.split()
        at = draw.randrange(max(1, len(words) - 8))
        queries.append(" ".join(words[at : at + 8]))
    return queries


if __name__ == "__main__":
    main()

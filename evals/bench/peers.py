"""Footnote's retrieval beside that of LlamaIndex and Chroma, over the same chunks with the same encoder, in one run.

    pip install chromadb llama-index-retrievers-bm25 llama-index-vector-stores-faiss   # in an environment of its own
    python -m evals.bench.peers --data FOLDER --collection NAME [--chunks 100000] [--queries FILE.jsonl] [--rounds 3]

FOLDER holds a collection of the embedded store (`retrieval.path`), whose chunks and vectors the peers get as they are:
LlamaIndex's QueryFusionRetriever over BM25Retriever and a FAISS HNSW index, without generated queries, by reciprocal
rank; a Chroma collection, which searches vectors only. Queries are the `text` of FILE's lines, by default titles of
documents. Each is embedded by everybody, with the model of the collection, on one thread. Queries go to all of them in
turn, so that a busy machine is busy for everybody. A peer that is not installed is left out.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from retrieval.build import build_collections, build_embedder, build_embedders, build_retriever
from retrieval.ports import Embedder, Snapshot, Vectors, VectorStore
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings

K = 10
DEPTH = 100
"""Candidates of each search, for everybody."""
PAGE = 500

Search = Callable[[str], object]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What everybody searches."""

    chunk_ids: Sequence[str]
    texts: Sequence[str]
    """As indexed: with title and headings."""
    vectors: Vectors
    titles: Sequence[str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    settings = RetrievalSettings(path=options.data, threads=1)
    embedder = build_embedder(settings)
    collections = build_collections(settings)
    store = collections.open(options.collection)
    with store.snapshot() as snapshot:
        material = _read(snapshot, options.chunks)
    queries = _queries(options.queries) if options.queries else _spread(material.titles, options.limit)
    searches = dict(_footnote(store, settings, embedder))
    with _peers(material, embedder) as others:
        searches |= others
        seconds = _measure(searches, queries, rounds=options.rounds)
    store.close()
    collections.close()
    Console(highlight=False).print(_table(seconds, len(material.chunk_ids), len(queries)))


def _footnote(store: VectorStore, settings: RetrievalSettings, embedder: Embedder) -> Iterator[tuple[str, Search]]:
    variants = {
        "Footnote, default": {},
        "Footnote, without late interaction": {"late_weight": 0.0},
        "Footnote, two searches and fusion only": {"late_weight": 0.0, "title_weight": 0.0, "feedback_weight": 0.0},
    }
    for name, changes in variants.items():
        varied = settings.model_copy(update=changes)
        retriever = build_retriever(store, build_embedders(varied, embedder), varied)
        yield name, partial(_ask, retriever)


def _ask(retriever: Retriever, query: str) -> object:
    return retriever.retrieve(query, k=K)


@contextmanager
def _peers(material: Material, embedder: Embedder) -> Iterator[dict[str, Search]]:
    found: dict[str, Search] = {}
    if all(map(find_spec, ("llama_index", "llama_index.retrievers.bm25", "llama_index.vector_stores.faiss"))):
        found["LlamaIndex, BM25 + vectors by RRF"] = _llama_index(material, embedder)
    if find_spec("chromadb"):
        found["Chroma, vectors"] = _chroma(material, embedder)
    yield found


def _llama_index(material: Material, embedder: Embedder) -> Search:
    import faiss
    from llama_index.core import StorageContext, VectorStoreIndex
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.llms import MockLLM
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.schema import TextNode
    from llama_index.retrievers.bm25 import BM25Retriever
    from llama_index.vector_stores.faiss import FaissVectorStore

    class SameEmbedding(BaseEmbedding):  # type: ignore[misc]  # ships no types for mypy to follow here
        def _get_query_embedding(self, query: str) -> list[float]:
            return [float(value) for value in embedder.embed_queries([query])[0]]

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

        def _get_text_embedding(self, text: str) -> list[float]:
            return [float(value) for value in embedder.embed_documents([text])[0]]

    nodes = [
        TextNode(id_=chunk_id, text=text, embedding=vector.tolist())
        for chunk_id, text, vector in zip(material.chunk_ids, material.texts, material.vectors, strict=True)
    ]
    graph = faiss.IndexHNSWFlat(material.vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    context = StorageContext.from_defaults(vector_store=FaissVectorStore(faiss_index=graph))
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=SameEmbedding())
    retriever = QueryFusionRetriever(
        [
            index.as_retriever(similarity_top_k=DEPTH),
            BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=DEPTH),
        ],
        llm=MockLLM(),
        mode="reciprocal_rerank",
        similarity_top_k=K,
        num_queries=1,
        use_async=False,
    )
    search: Search = retriever.retrieve
    return search


def _chroma(material: Material, embedder: Embedder) -> Search:
    import chromadb  # type: ignore[import-not-found]  # in an environment of its own

    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("bench", embedding_function=None, metadata={"hnsw:space": "cosine"})
    step = client.get_max_batch_size()
    for i in range(0, len(material.chunk_ids), step):
        rows = slice(i, i + step)
        collection.add(
            ids=list(material.chunk_ids[rows]),
            documents=list(material.texts[rows]),
            embeddings=material.vectors[rows],
        )
    return lambda query: collection.query(query_embeddings=embedder.embed_queries([query]), n_results=K)


def _read(snapshot: Snapshot, limit: int) -> Material:
    chunk_ids, texts, vectors, titles = list[str](), list[str](), list[Vectors](), list[str]()
    after = ""
    while len(chunk_ids) < limit:
        listed = snapshot.documents(after=after, limit=PAGE)
        if not listed:
            break
        after = listed[-1].doc_id
        titles += [info.title for info in listed if info.title.strip()]
        for one in snapshot.contents([info.doc_id for info in listed]):
            chunk_ids += [chunk.chunk_id for chunk in one.chunks]
            texts += [chunk.indexed_text for chunk in one.chunks]
            vectors.append(one.vectors)
    return Material(chunk_ids, texts, np.concatenate(vectors), titles)


def _queries(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines() if line.strip()]


def _spread(titles: Sequence[str], limit: int) -> list[str]:
    """Every so many-th of the distinct titles."""
    distinct = list(dict.fromkeys(titles))
    return distinct[:: max(1, len(distinct) // limit)][:limit]


def _measure(searches: dict[str, Search], queries: Sequence[str], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each query by each search; the first round warms caches and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(rounds + 1):
        for query in queries:
            for name, search in searches.items():
                begin = time.perf_counter()
                search(query)
                if number:
                    seconds[name].append(time.perf_counter() - begin)
    return seconds


def _table(seconds: dict[str, list[float]], chunks: int, queries: int) -> Table:
    table = Table(title=f"{chunks:,} chunks, {queries:,} queries, embedding included", box=None, header_style="bold")
    for name in ("", "p50 ms", "p95 ms", "p50 / default"):
        table.add_column(name, justify="left" if not name else "right")
    middle = {name: float(np.median(values)) for name, values in seconds.items()}
    default = next(iter(middle.values()))
    for name, values in seconds.items():
        p95 = 1000 * float(np.percentile(values, 95))
        table.add_row(name, f"{1000 * middle[name]:.1f}", f"{p95:.1f}", f"{middle[name] / default:.2f}")
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded store")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--chunks", type=int, default=100_000, help="read documents until there are so many")
    parser.add_argument("--queries", type=Path, help="JSON lines with a `text` each")
    parser.add_argument("--limit", type=int, default=200, help="titles to ask by, without --queries")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

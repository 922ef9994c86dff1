"""Whole stores side by side: the same collection loaded into each, and searched through the port.

    python -m evals.bench.stores --data FOLDER --collection NAME --to faiss --to pgvector --queries FILE.jsonl

FOLDER holds a collection of the embedded store (`retrieval.path`); with --from pgvector, a schema of the database does.
Its documents, chunks and vectors go into a temporary folder, and into a temporary schema of --postgres-url or of the
variable POSTGRES_URL. Queries are the `text` of FILE's lines and titles of documents, embedded beforehand. Recall is
against exact search in NumPy over the same vectors; a chunk that ties with the last of the k best counts as found.
Times are of single queries in one process, one after the other, a snapshot each, embedding left out: `hybrid` is the
whole of `Retriever.retrieve`. Bytes are those on disk less the UTF-8 text of the documents. --compare-sql also ranks by
BM25 in plain SQL (see `sql_bm25`).
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from evals.bench.store_client import DEPTH, SHARES, Client, measure
from evals.bench.store_places import NAME, fill, opened, pages, share_of, stored_bytes, temporary_place
from retrieval.build import build_embedders
from retrieval.ports import Embedders, Vectors
from retrieval.records import EmbedderInfo
from retrieval.settings import RetrievalSettings

TARGETS = ("faiss", "pgvector")
TIES = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What all stores get to search for, and what is right."""

    info: EmbedderInfo
    queries: Sequence[str]
    query_vectors: Vectors
    chunk_ids: Sequence[str]
    vectors: Vectors
    """Shape (n, dimension), in the order of `chunk_ids`."""
    shares: NDArray[np.int64]
    """Shape (n,): the number in SHARE_FIELD of each chunk's document."""
    text_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All that is said of one store."""

    rate: float
    """Chunks loaded per second, index upkeep included."""
    bytes_per_chunk: float
    """On disk, beyond the text."""
    client: Client
    recall: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    source = RetrievalSettings.model_validate(
        {
            "store": options.source,
            "path": options.data,
            "postgres_url": options.postgres_url,
            "postgres_schema": options.postgres_schema,
        }
    )
    lines = options.queries.read_text("utf-8").splitlines() if options.queries else []
    queries = [json.loads(line)["text"] for line in lines if line.strip()]
    material = read_material(
        source,
        options.collection,
        embedders=build_embedders(source),
        queries=queries,
        titles=options.titles,
        chunks=options.chunks,
    )
    console = Console()
    if not options.json:
        console.print(f"{len(material.chunk_ids):,} chunks, {len(material.queries)} queries, k = {DEPTH}")
    measured: dict[str, Measured] = {}
    comparison: dict[str, float] = {}
    for target in options.to:
        with temporary_place(target, options.postgres_url) as place:
            measured[target] = measure_store(place, source, options.collection, material)
            if target == "pgvector" and options.compare_sql:
                from evals.bench import sql_bm25

                comparison = sql_bm25.compare(place, material.queries)
    if options.json:
        stores = {name: _plain(one) for name, one in measured.items()}
        print(json.dumps({"chunks": len(material.chunk_ids), "stores": stores, "sql": comparison}, indent=2))
        return
    console.print(table(measured))
    for name, value in comparison.items():
        console.print(f"{name:58s} {value:10.2f}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", choices=TARGETS, default="faiss", help="store of the collection")
    parser.add_argument("--data", type=Path, default=Path("footnote-data"), help="folder of the embedded store")
    parser.add_argument("--postgres-schema", default="footnote", help="where the collection is, for --from pgvector")
    parser.add_argument("--collection", default="default")
    parser.add_argument("--to", action="append", choices=TARGETS, required=True, help="again for each store")
    parser.add_argument("--chunks", type=int, help="take documents until they have so many chunks")
    parser.add_argument("--queries", type=Path, help='lines such as {"text": "How do I ...?"}')
    parser.add_argument("--titles", type=int, default=200, help="titles of documents that serve as queries, too")
    parser.add_argument("--postgres-url", default=os.environ.get("POSTGRES_URL", ""))
    parser.add_argument("--compare-sql", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if "pgvector" in (*options.to, options.source) and not options.postgres_url:
        parser.error("pgvector needs --postgres-url, or the variable POSTGRES_URL")
    return options


def read_material(
    source: RetrievalSettings,
    collection: str,
    *,
    embedders: Embedders,
    queries: Sequence[str],
    titles: int,
    chunks: int | None,
) -> Material:
    """Read the vectors once; add so many titles to the queries, and embed them."""
    chunk_ids: list[str] = []
    vectors, shares, named, text_bytes = [], [], list[str](), 0
    for page in pages(source, collection, chunks):
        for replacement in page:
            chunk_ids += [chunk.chunk_id for chunk in replacement.chunks]
            vectors.append(replacement.vectors)
            shares += [share_of(replacement.document.doc_id)] * len(replacement.chunks)
            named.append(replacement.document.title)
            text_bytes += len(replacement.document.text.encode("utf-8"))
    asked = list(dict.fromkeys([*queries, *_spread([title for title in named if title.strip()], titles)]))
    with opened(source, collection) as snapshot:
        info = snapshot.info.embedder
    return Material(
        info=info,
        queries=asked,
        query_vectors=embedders.of(info).embed_queries(asked),
        chunk_ids=chunk_ids,
        vectors=np.concatenate(vectors),
        shares=np.array(shares, dtype=np.int64),
        text_bytes=text_bytes,
    )


def _spread(values: Sequence[str], count: int) -> list[str]:
    """At most `count` of `values`, from all over."""
    return [values[i] for i in np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))]


def measure_store(place: RetrievalSettings, source: RetrievalSettings, collection: str, material: Material) -> Measured:
    """Fill a place that is empty, and search there."""
    chunks = len(material.chunk_ids)
    seconds = fill(place, source, collection, chunks)
    size = stored_bytes(place)
    client = in_new_process(place, material)
    return Measured(chunks / seconds, (size - material.text_bytes) / chunks, client, recall(client, material))


def in_new_process(place: RetrievalSettings, material: Material) -> Client:
    """What a process that does nothing else sees."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, place, NAME, material.info, material.queries, material.query_vectors).result()


def recall(client: Client, material: Material) -> dict[str, float]:
    """Mean share of the k nearest that were found, for each filter and k."""
    rows = {chunk_id: row for row, chunk_id in enumerate(material.chunk_ids)}
    shares: dict[str, list[float]] = {}
    for i, vector in enumerate(material.query_vectors):
        cosines = material.vectors @ vector
        for share in SHARES:
            passing = cosines if share == 100 else cosines[material.shares < share]
            for k in (10, DEPTH):
                wanted = min(k, len(passing))
                if wanted:
                    worst = np.partition(passing, -wanted)[-wanted] - TIES
                    found = cosines[[rows[chunk_id] for chunk_id in client.found[share][k][i]]]
                    shares.setdefault(f"recall@{k} of {share}%", []).append(float((found >= worst).sum()) / wanted)
    return {name: float(np.mean(values)) for name, values in shares.items()}


def table(measured: Mapping[str, Measured]) -> Table:
    """A column per store."""
    made = Table()
    made.add_column("")
    for name in measured:
        made.add_column(name, justify="right")
    rows = {name: _plain(one) for name, one in measured.items()}
    for key in next(iter(rows.values())):
        made.add_row(key, *(f"{row[key]:,.3f}" if "recall" in key else f"{row[key]:,.1f}" for row in rows.values()))
    return made


def _plain(one: Measured) -> dict[str, float]:
    times = {f"{name} {key} ms": value for name, of in one.client.times.items() for key, value in asdict(of).items()}
    return {
        "chunks/s loaded": one.rate,
        "bytes per chunk beyond the text": one.bytes_per_chunk,
        **one.recall,
        **times,
        "first query ms": one.client.first_ms,
        "resident MiB": one.client.resident,
    }


if __name__ == "__main__":
    main()

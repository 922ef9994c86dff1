"""Any cross-encoder that sentence-transformers loads, on the CPU or a GPU. `onnx` runs prepared ones without torch.

Files are local; nothing is downloaded.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from retrieval.embedders.source import find_source
from retrieval.embedders.tokenizer import encodable
from retrieval.errors import RerankerError
from retrieval.ports import SearchView
from retrieval.records import StoredChunk
from retrieval.rerankers.scores import checked, texts_of
from retrieval.rerankers.source import load_cross_encoder

CHARACTERS_PER_TOKEN = 20
"""Texts are cut to as many for each token of the window before the tokenizer cuts them to the token: of two very long
ones it also makes every combination of what it cuts off, which takes a minute. Few languages have half as many."""


class CrossEncoderReranker:
    """The port `Reranker` on a folder or a name in the local Hugging Face cache; loaded at once, so that a server pays
    for it when it starts and not with its first query.

    `device` is torch's: 'cpu', 'cuda', 'cuda:1', or 'auto'. `batch_size` pairs go through the model at a time. Pairs
    that are longer than the model's window are cut as the model's tokenizer does: at the end of the longer text. Scores
    are on the model's own scale, its activation applied. Raises MissingExtra without the extra, ConfigError when the
    model is not there, is no cross-encoder or cannot be loaded.
    """

    def __init__(self, model: str, *, device: str = "cpu", batch_size: int = 8) -> None:
        self.name = f"cross-encoder:{Path(model).resolve().name if Path(model).is_dir() else model}"
        self._model = load_cross_encoder(find_source(model), device=device)
        self._longest = CHARACTERS_PER_TOKEN * self._model.max_seq_length
        self._batch_size = batch_size
        self._lock = threading.Lock()
        """Over each call: the library's tokenizer keeps state between its steps."""

    def rerank(
        self,
        query: str,
        chunks: Sequence[StoredChunk],
        *,
        snapshot: SearchView,  # noqa: ARG002  # texts are enough
    ) -> list[float]:
        if not chunks:
            return []
        pairs = [(encodable(query)[: self._longest], text[: self._longest]) for text in texts_of(chunks)]
        try:
            with self._lock:
                scores = self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False)
        except (RuntimeError, IndexError, ValueError) as exc:  # a GPU's memory, a window wider than the weights
            raise RerankerError(f"reranker {self.name!r} failed on {len(pairs)} pairs: {exc}") from exc
        return checked(scores.tolist(), self.name, len(chunks))

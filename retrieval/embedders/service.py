"""What embedding services have in common: batches sent side by side, texts cut to the window, answers checked.

A service's vectors are made elsewhere and cannot be looked into. So each answer is held against what is known: as many
rows as texts, one dimension for all and always the same, finite numbers, no zero vectors. Every row is normalised here.
"""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from retrieval.embedders.estimate import EstimatingTokenizer
from retrieval.embedders.tokenizer import FastTokenizer, encodable
from retrieval.errors import ConfigError, EmbedderError
from retrieval.ports import Tokenizer, Vectors
from retrieval.records import EmbedderInfo

_SPECIAL_TOKENS = 2
"""What a model adds around a text, e.g. [CLS] and [SEP]."""
_NOTHING = "."
"""Sent for a text of nothing but white space, which services refuse."""
_PROBE = "dimension"


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What the settings say of a service, whichever it is; see `retrieval.settings` for each."""

    model: str
    dimensions: int = 0
    window: int = 512
    tokenizer: Path | None = None
    query_prefix: str = ""
    document_prefix: str = ""
    batch: int = 32
    timeout: float = 30.0
    """In seconds, for an answer."""
    retries: int = 4


class ServiceEmbedder(ABC):
    """The port `Embedder` over a service; a subclass knows the wire format. Thread-safe.

    The dimension is asked for, with one short text, when it is first needed and neither given nor known by the model's
    name. Texts beyond the window are cut here, for most services refuse them. Raises EmbedderError for answers that
    are none, EmbedderUnavailable when trying again later may help.
    """

    def __init__(
        self, options: ServiceOptions, *, adapter: str, name: str, dimension: int, batch: int, parallel: int
    ) -> None:
        """`dimension` is 0 when it is not known; `batch` texts go into a request, `parallel` requests at a time."""
        self._options = options
        self._adapter = adapter
        self._name = name
        self._dimension = dimension
        self._batch = batch
        self._parallel = parallel
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(parallel)

    @cached_property
    def info(self) -> EmbedderInfo:
        """Of the name, not of the place: two services that call different models by one name look the same."""
        if not self._dimension:
            self.embed_queries([_PROBE])
        return EmbedderInfo(
            name=self._name,
            sha256="",
            dimension=self._dimension,
            window=self._options.window,
            pooling="service",
            query_prefix=self._options.query_prefix,
            document_prefix=self._options.document_prefix,
            adapter=self._adapter,
            model=self._options.model,
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        path = self._options.tokenizer
        return EstimatingTokenizer() if path is None else _load(path, window=self._options.window)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension)."""
        return self._embed(self._options.query_prefix, texts, query=True)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension)."""
        return self._embed(self._options.document_prefix, texts, query=False)

    @abstractmethod
    def request(self, texts: Sequence[str], *, query: bool, stop: threading.Event) -> Vectors:
        """The vectors of one batch, tried again as often as the options say unless `stop` is set meanwhile.

        Whoever implements it passes what came back through `checked`.
        """

    def checked(self, rows: Sequence[Any], count: int) -> Vectors:
        """Rows of an answer as normalised vectors; shape (count, dimension). Raises EmbedderError."""
        try:
            made = np.array(rows)
        except (ValueError, OverflowError) as exc:  # rows of several lengths, numbers beyond all floats
            raise self.nonsense("something else than vectors of one length") from exc
        if made.ndim != 2 or made.dtype.kind not in "iuf" or not made.shape[1]:
            raise self.nonsense("something else than vectors of numbers")
        if len(made) != count:
            raise self.nonsense(f"{len(made)} vectors for {count} texts")
        made = made.astype(np.float64)
        if not np.isfinite(made).all():
            raise self.nonsense("a vector with a number that is not finite")
        self._check_dimension(made.shape[1])
        # By the largest first: the square of a large number may be infinite, that of a small one zero.
        largest = np.abs(made).max(axis=1, keepdims=True)
        if not largest.all():
            raise self.nonsense("a vector of zeros")
        made /= largest
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)

    def nonsense(self, what: str) -> EmbedderError:
        """The error for an answer that holds `what`."""
        return EmbedderError(f"{self._name} sent {what}; look at what serves retrieval.model {self._options.model!r}")

    def _check_dimension(self, dimension: int) -> None:
        with self._lock:
            if not self._dimension:
                self._dimension = dimension
            wanted = self._dimension
        if dimension == wanted:
            return
        if self._options.dimensions:
            raise EmbedderError(
                f"{self._name} was asked for retrieval.dimensions = {wanted} and sent {dimension}; set it to 0, or to "
                "what the model and its server can do"
            )
        raise EmbedderError(
            f"{self._name} sent vectors of {dimension} dimensions, not of {wanted} as before: another model answers by "
            "that name; bring the former back, or `footnote reindex`"
        )

    def _embed(self, prefix: str, texts: Sequence[str], *, query: bool) -> Vectors:
        if not len(texts):
            return np.empty((0, self.info.dimension), dtype=np.float32)
        fitted = [self._fitted(prefix + text) for text in texts]
        # By length: a server that pads a batch wastes least. The longest first, so that none is waited for at the end.
        order = sorted(range(len(fitted)), key=lambda row: -len(fitted[row]))
        batches = [order[i : i + self._batch] for i in range(0, len(order), self._batch)]
        made = self._side_by_side([[fitted[row] for row in batch] for batch in batches], query=query)
        vectors = np.empty((len(fitted), made[0].shape[1]), dtype=np.float32)
        for batch, rows in zip(batches, made, strict=True):
            vectors[batch] = rows
        return vectors

    def _side_by_side(self, batches: Sequence[Sequence[str]], *, query: bool) -> list[Vectors]:
        """The vectors of each batch. The first error ends them all, those that wait to try again included."""
        stop = threading.Event()
        if len(batches) == 1:
            return [self.request(batches[0], query=query, stop=stop)]
        waiting = deque(range(len(batches)))
        results: SimpleQueue[tuple[int, Vectors | BaseException]] = SimpleQueue()

        def work() -> None:
            while True:
                with self._slots:
                    if stop.is_set():
                        return
                    try:
                        number = waiting.popleft()
                    except IndexError:
                        return  # all are done or under way
                    try:
                        results.put((number, self.request(batches[number], query=query, stop=stop)))
                    except BaseException as exc:  # handed over to the thread that waits, whatever it is
                        results.put((number, exc))

        # Daemons, not a pool: a command that is told to end does not wait for a server that is silent.
        for _ in range(min(self._parallel, len(batches))):
            threading.Thread(target=work, name="embed", daemon=True).start()
        made: dict[int, Vectors] = {}
        try:
            while len(made) < len(batches):
                number, result = results.get()
                if isinstance(result, BaseException):
                    raise result
                made[number] = result
        finally:
            stop.set()
        return [made[number] for number in range(len(batches))]

    def _fitted(self, text: str) -> str:
        """`text` as it can be sent: no lone surrogates, not empty, within the window."""
        text = encodable(text)
        room = self._options.window - _SPECIAL_TOKENS
        if 4 * len(text) > room:  # else it fits: no tokenizer makes more than one token of a byte
            spans = self.tokenizer.offsets(text)
            if len(spans) > room:
                text = text[: spans[room - 1][1]]
        return text if text.strip() else _NOTHING


def _load(path: Path, *, window: int) -> FastTokenizer:
    """The tokenizer of a file, tried out: other processes get it, and their errors tell less. Raises ConfigError."""
    try:
        data = path.read_bytes()
        tokenizer = FastTokenizer(lambda: data, window=window)
        tokenizer.offsets("a")
    except Exception as exc:  # the library has no class of its own for errors
        raise ConfigError(
            f"retrieval.embedder_tokenizer {str(path)!r} cannot be loaded ({exc}); give the model's tokenizer.json, or "
            "leave the setting out"
        ) from exc
    return tokenizer

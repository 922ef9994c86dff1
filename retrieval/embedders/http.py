"""Any server that speaks /v1/embeddings: Text Embeddings Inference, vLLM (also on Neuron), Ollama, llama.cpp, OpenAI.

Only what they all understand is sent: model, input, encoding_format, and `dimensions` when it is set.
"""

import base64
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from retrieval.embedders.service import ServiceEmbedder, ServiceOptions
from retrieval.errors import ConfigError, EmbedderError, EmbedderUnavailable
from retrieval.ports import Vectors
from retrieval.service import Address, JsonService, ServiceError, ServiceTooLarge, ServiceUnavailable

PARALLEL = 4
"""Requests at a time. They keep a server busy that works on one at a time, as long as the way there and back takes no
more than three times the work; any more would only wait in its queue, until it answers 429."""

FIRST_DELAY = 0.5
"""Seconds before the second try; twice as long before each one after that."""
LONGEST_ASKED = 60.0
"""A server that asks to be left alone for longer is not waited for: who runs the command should know."""


class HttpEmbedder(ServiceEmbedder):
    """One model of one server. Can be pickled: the other process has its own connections."""

    def __init__(self, options: ServiceOptions, *, url: str, api_key: str = "") -> None:
        """`url` ends with the version, as in 'http://localhost:8080/v1'. Raises ConfigError."""
        super().__init__(
            options,
            adapter="http",
            name=f"http:{options.model}",
            dimension=options.dimensions,
            batch=options.batch,
            parallel=PARALLEL,
        )
        if not options.model:
            raise ConfigError("retrieval.model is empty; say by which id the server knows its model")
        self._url = url
        self._api_key = api_key
        address = Address(
            url=url,
            api_key=api_key,
            url_setting="retrieval.embedder_url",
            key_setting="retrieval.embedder_api_key",
            body_settings=f"retrieval.model {options.model!r} and retrieval.dimensions",
            example="http://localhost:8080/v1",
        )
        self._service = JsonService(
            self._name,
            address,
            timeout=options.timeout,
            retries=options.retries,
            first_delay=FIRST_DELAY,
            longest_wait=LONGEST_ASKED,
        )

    def __reduce__(self) -> tuple[Any, tuple[ServiceOptions]]:
        return partial(HttpEmbedder, url=self._url, api_key=self._api_key), (self._options,)

    def request(self, texts: Sequence[str], *, query: bool, stop: threading.Event) -> Vectors:
        """Half and half where the server says that it is too much; the smaller size is kept from then on."""
        body: dict[str, Any] = {"model": self._options.model, "input": list(texts), "encoding_format": "float"}
        if self._options.dimensions:
            body["dimensions"] = self._options.dimensions
        try:
            answer = self._service.post("/embeddings", body, stop=stop)
        except ServiceTooLarge as exc:
            if len(texts) == 1:
                raise EmbedderError(
                    f"{exc}; a text of {len(texts[0]):,} characters, which begins {texts[0][:40]!r}, is too long for "
                    "the model: lower retrieval.embedder_window to what it reads, give its retrieval.embedder_tokenizer"
                    ", and `footnote reindex`"
                ) from exc
            half = len(texts) // 2
            made = [self.request(part, query=query, stop=stop) for part in (texts[:half], texts[half:])]
            self._batch = min(self._batch, len(texts) - half)
            return np.concatenate(made)
        except ServiceUnavailable as exc:
            raise EmbedderUnavailable(str(exc)) from exc
        except ServiceError as exc:
            raise EmbedderError(str(exc)) from exc
        return self.checked(self._rows(answer, len(texts)), len(texts))

    def _rows(self, answer: Any, count: int) -> list[Any]:
        """The embeddings of an answer in the order of the texts, whatever their order there."""
        try:
            data = answer["data"]
            found = {item["index"]: item["embedding"] for item in data}
            if len(data) != count or found.keys() != set(range(count)):
                raise self.nonsense(f"the vectors {sorted(found)[:20]} for the texts 0 to {count - 1}")
            return [_vector(found[row]) for row in range(count)]
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise EmbedderError(
                f"{self._name} at {self._url} sent {self._service.shown(repr(answer))}, which holds no embeddings; "
                "is it a server with /v1/embeddings?"
            ) from exc


def _vector(embedding: Any) -> Any:
    """Numbers as they are; base64 is of 32-bit floats, the lowest byte first."""
    if not isinstance(embedding, str):
        return embedding
    return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")

"""Any server with /rerank, in the two shapes that there are of it.

- TEI (Text Embeddings Inference): {query, texts, raw_scores, truncate} -> [{index, score}]
- Cohere, and after it Jina, vLLM, llama.cpp, Infinity, LiteLLM: {model, query, documents, top_n} ->
  {results: [{index, relevance_score}]}

Nothing else is sent: fields that one server wants make another refuse.
"""

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from retrieval.embedders.tokenizer import encodable
from retrieval.errors import ConfigError, RerankerError, RerankerUnavailable
from retrieval.ports import SearchView
from retrieval.records import StoredChunk
from retrieval.rerankers.scores import by_index, texts_of
from retrieval.service import Address, JsonService, ServiceError, ServiceTooLarge, ServiceUnavailable

Api = Literal["auto", "tei", "cohere"]

BATCH = {"tei": 32, "cohere": 1000}
"""Texts in a request: TEI's own limit unless it was started with another --max-client-batch-size; Cohere's advice."""
PARALLEL = 4
"""Requests at a time, where the chunks are more than a batch: enough that a server never waits for the next one."""
RETRIES = 2
FIRST_DELAY = 0.2
"""Seconds before the second try. Somebody waits for the result, and a second of waiting is better spent on an answer
without reranking."""
LEAST_CHARACTERS = 100
"""A text that is refused as too long even when it is cut to this is not what is too long."""

_ALLOWED = re.compile(r"maximum allowed batch size (\d+)")
"""TEI's words."""


class HttpReranker:
    """The port `Reranker` on one model of one server. Thread-safe.

    `url` is what stands before /rerank. With `api` 'auto' a server that has to be told the model speaks as Cohere does,
    and one that has only one speaks as TEI does. `timeout` is in seconds, for all that a query needs, second tries
    included. A request that the server finds too large is sent in halves; a single text that is too long, cut. Raises
    ConfigError.
    """

    def __init__(
        self, *, url: str, model: str = "", api: Api = "auto", api_key: str = "", timeout: float = 10.0
    ) -> None:
        self._api: Literal["tei", "cohere"] = ("cohere" if model else "tei") if api == "auto" else api
        if self._api == "cohere" and not model:
            raise ConfigError(
                "retrieval.rerank_model is empty, the API 'cohere' needs it; say by which id the server knows its model"
            )
        self.name = f"http:{model or 'tei'}"
        self._model = model
        self._timeout = timeout
        self._batch = BATCH[self._api]
        address = Address(
            url=url.rstrip("/").removesuffix("/rerank"),
            api_key=api_key,
            url_setting="retrieval.rerank_url",
            key_setting="retrieval.rerank_api_key",
            body_settings="retrieval.rerank_model and retrieval.rerank_api",
            example="http://localhost:8080",
        )
        self._service = JsonService(
            self.name, address, timeout=timeout, retries=RETRIES, first_delay=FIRST_DELAY, longest_wait=timeout
        )
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def rerank(
        self,
        query: str,
        chunks: Sequence[StoredChunk],
        *,
        snapshot: SearchView,  # noqa: ARG002  # texts are enough
    ) -> list[float]:
        query, texts = encodable(query), texts_of(chunks)
        deadline = time.monotonic() + self._timeout
        size = self._batch
        batches = [texts[begin : begin + size] for begin in range(0, len(texts), size)]
        if len(batches) <= 1:
            return [score for batch in batches for score in self._judge(query, batch, deadline)]
        made = self._workers().map(lambda batch: self._judge(query, batch, deadline), batches)
        return [score for scores in made for score in scores]

    def _judge(self, query: str, texts: Sequence[str], deadline: float) -> list[float]:
        try:
            return self._ask(query, texts, deadline)
        except ServiceTooLarge as exc:
            allowed = _ALLOWED.search(str(exc))
            if allowed:
                self._batch = max(1, min(self._batch, int(allowed[1])))
            if len(texts) > 1:
                half = len(texts) // 2
                return self._judge(query, texts[:half], deadline) + self._judge(query, texts[half:], deadline)
            if len(texts[0]) <= LEAST_CHARACTERS:
                raise RerankerError(
                    f"{exc}; the query has {len(query):,} characters: shorten it, or serve a model with a wider window"
                ) from exc
            return self._judge(query, [texts[0][: len(texts[0]) // 2]], deadline)
        except ServiceUnavailable as exc:
            raise RerankerUnavailable(str(exc)) from exc
        except ServiceError as exc:
            raise RerankerError(str(exc)) from exc

    def _ask(self, query: str, texts: Sequence[str], deadline: float) -> list[float]:
        body: dict[str, Any]
        if self._api == "tei":
            body = {"query": query, "texts": list(texts), "raw_scores": True, "truncate": True}
        else:
            body = {"model": self._model, "query": query, "documents": list(texts), "top_n": len(texts)}
        answer = self._service.post("/rerank", body, deadline=deadline)
        field = "score" if self._api == "tei" else "relevance_score"
        try:
            results = answer if self._api == "tei" else answer["results"]
            found = [(result["index"], result[field]) for result in results]
        except (LookupError, TypeError) as exc:
            raise RerankerError(
                f"reranker {self.name!r} sent {repr(answer)[:200]}, which is no answer of the API {self._api!r}; "
                "check retrieval.rerank_url, retrieval.rerank_model and retrieval.rerank_api"
            ) from exc
        return by_index(found, self.name, len(texts))

    def _workers(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="rerank")
            return self._pool

"""Any server that speaks /v1/embeddings: Text Embeddings Inference, vLLM (also on Neuron), Ollama, llama.cpp, OpenAI.

Only what they all understand is sent: model, input, encoding_format, and `dimensions` when it is set.
"""

import base64
import random
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx
import numpy as np

from retrieval.embedders.service import ServiceEmbedder, ServiceOptions
from retrieval.errors import ConfigError, EmbedderError, EmbedderUnavailable
from retrieval.ports import Vectors

PARALLEL = 4
"""Requests at a time. They keep a server busy that works on one at a time, as long as the way there and back takes no
more than three times the work; any more would only wait in its queue, until it answers 429."""

FIRST_DELAY = 0.5
"""Seconds before the second try; twice as long before each one after that."""
LONGEST_DELAY = 30.0
LONGEST_ASKED = 60.0
"""A server that asks to be left alone for longer is not waited for: who runs the command should know."""

MAX_ERROR_CHARACTERS = 300
"""Of a server's own words in our message."""

_PASSING = (408, 409, 424, 425, 429)
"""Statuses below 500 that may pass: timeout, conflict, failed inference (TEI), too early, too many requests."""
_SAYS_TOO_LARGE = re.compile(
    r"too (large|long|big|many)|batch ?size|maximum|max_|exceed|context (length|size|window)|at most|no more than"
    r"|longer than|larger than|length limit",
    re.IGNORECASE,
)


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
        _check(options.model, url, api_key)
        self._url = url
        self._api_key = api_key
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(options.timeout, connect=min(options.timeout, 10.0)),
            trust_env=False,  # a proxy that the configuration does not name would be a surprise
        )

    def __reduce__(self) -> tuple[Any, tuple[ServiceOptions]]:
        return partial(HttpEmbedder, url=self._url, api_key=self._api_key), (self._options,)

    def request(self, texts: Sequence[str], *, query: bool, stop: threading.Event) -> Vectors:
        """Half and half where the server says that it is too much; the smaller size is kept from then on."""
        try:
            return self.checked(self._rows(self._answer(texts, stop), len(texts)), len(texts))
        except _TooLarge as exc:
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

    def _answer(self, texts: Sequence[str], stop: threading.Event) -> httpx.Response:
        body: dict[str, Any] = {"model": self._options.model, "input": list(texts), "encoding_format": "float"}
        if self._options.dimensions:
            body["dimensions"] = self._options.dimensions
        tried = 0
        while True:
            tried += 1
            asked = None
            try:
                response = self._client.post("embeddings", json=body)
            except httpx.TimeoutException as exc:
                problem = self._unavailable(f"did not answer within {self._options.timeout:g} s", exc)
            except httpx.RequestError as exc:
                problem = self._unavailable(f"cannot be reached: {exc or type(exc).__name__}", exc)
            else:
                if response.status_code == httpx.codes.OK:
                    return response
                problem = self._refused(response)
                asked = _retry_after(response.headers.get("retry-after", ""))
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (tried - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
            delay = max(delay, asked) if asked is not None else delay
            over = tried > self._options.retries or delay > LONGEST_ASKED
            if over or stop.wait(delay):
                raise EmbedderUnavailable(
                    f"{problem}; tried {tried} time{'s' * (tried > 1)}"
                    + (f", and it asks to wait for {asked:,.0f} s" if asked else "")
                    + "; try again later, or see whether the server at retrieval.embedder_url is well"
                ) from problem.__cause__

    def _unavailable(self, what: str, cause: Exception) -> EmbedderUnavailable:
        problem = EmbedderUnavailable(f"{self._name} at {self._url} {what}")
        problem.__cause__ = cause
        return problem

    def _refused(self, response: httpx.Response) -> EmbedderUnavailable:
        """What may pass is returned, all else raised: _TooLarge, EmbedderError."""
        status, said = response.status_code, _words(response)
        text = f"{self._name} at {self._url} answered {status}: {self._shown(said)}"
        if _is_too_large(status, said):
            raise _TooLarge(text)
        if status >= 500 or status in _PASSING:
            return EmbedderUnavailable(text)
        if status in (401, 403):
            raise EmbedderError(f"{text}; check retrieval.embedder_api_key")
        if status in (404, 405) or status < 400:
            raise EmbedderError(
                f"{text}; check retrieval.embedder_url, which ends with the version as in 'http://localhost:8080/v1', "
                f"and retrieval.model {self._options.model!r}"
            )
        raise EmbedderError(f"{text}; check retrieval.model {self._options.model!r} and retrieval.dimensions")

    def _rows(self, response: httpx.Response, count: int) -> list[Any]:
        """The embeddings of an answer in the order of the texts, whatever their order there."""
        try:
            data = response.json()["data"]
            found = {item["index"]: item["embedding"] for item in data}
            if len(data) != count or found.keys() != set(range(count)):
                raise self.nonsense(f"the vectors {sorted(found)[:20]} for the texts 0 to {count - 1}")
            return [_vector(found[row]) for row in range(count)]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
            raise EmbedderError(
                f"{self._name} at {self._url} sent {self._shown(response.text)!r}, which holds no embeddings; is it a "
                "server with /v1/embeddings?"
            ) from exc

    def _shown(self, said: str) -> str:
        """The beginning of what a server says, without our key, which some repeat."""
        return (said.replace(self._api_key, "(secret)") if self._api_key else said)[:MAX_ERROR_CHARACTERS]


class _TooLarge(EmbedderError):
    """The server takes less at once."""


def _is_too_large(status: int, said: str) -> bool:
    """TEI says 413 or 422, OpenAI and vLLM 400, llama.cpp 500."""
    if status in (400, 422):
        return bool(_SAYS_TOO_LARGE.search(said)) and "dimension" not in said
    return status == 413 or (status == 500 and "too large" in said)


def _check(model: str, url: str, api_key: str) -> None:
    """Raise ConfigError for what would fail later in words that tell less, or tell too much."""
    if not model:
        raise ConfigError("retrieval.model is empty; say by which id the server knows its model")
    if "@" in url:  # first, so that no other message shows it
        raise ConfigError("retrieval.embedder_url holds a user or password; give a token as retrieval.embedder_api_key")
    try:
        parsed = httpx.URL(url)
        is_address = parsed.scheme in ("http", "https") and parsed.host != "" and (parsed.port or 80) < 2**16
    except httpx.InvalidURL:
        is_address = False
    if not is_address:
        raise ConfigError(f"retrieval.embedder_url {url!r} is no address; give one like 'http://localhost:8080/v1'")
    if parsed.query or parsed.fragment:
        raise ConfigError(f"retrieval.embedder_url {url!r} has a query; give only what stands before /embeddings")
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        # The HTTP library would say so with the key in its words.
        raise ConfigError("retrieval.embedder_api_key holds a blank, a line break or a character outside ASCII")


def _vector(embedding: Any) -> Any:
    """Numbers as they are; base64 is of 32-bit floats, the lowest byte first."""
    if not isinstance(embedding, str):
        return embedding
    return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")


def _retry_after(value: str) -> float | None:
    """Seconds from a Retry-After header, which has them or a date; None when it has neither."""
    try:
        return min(max(0.0, float(value)), 1e9) if value.strip() else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _words(response: httpx.Response) -> str:
    """What a server says of an error: OpenAI's {"error": {"message"}}, or {"error"}, {"message"}, {"detail"}."""
    try:
        body = response.json()
        while isinstance(body, dict):
            body = next(body[key] for key in ("error", "message", "detail") if body.get(key))
    except (ValueError, StopIteration, RecursionError):
        return response.text
    return body if isinstance(body, str) else response.text

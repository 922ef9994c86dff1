"""A model server over HTTP: JSON there, JSON back, tried again where that may help, its refusals in plain words.

For the adapters `http` of embedders and rerankers. Its own errors, ServiceError and below, never leave these: each
adapter raises what its port promises.
"""

import json
import random
import re
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from retrieval.errors import ConfigError

MAX_ERROR_CHARACTERS = 300
"""Of a server's own words in our message."""
MAX_ANSWER_BYTES = 256 * 2**20
"""No answer to a batch is as large; what is, comes from something else than a model server."""
MAX_DELAY = 30.0
"""Seconds between two tries, unless the server asks for more."""
PASSING = (408, 409, 424, 425, 429)
"""Statuses below 500 that may pass: timeout, conflict, failed inference (TEI), too early, too many requests."""
_SAYS_TOO_LARGE = re.compile(
    r"too (large|long|big|many)|batch ?size|maximum|max_|exceed|context (length|size|window)|at most|no more than"
    r"|longer than|larger than|length limit",
    re.IGNORECASE,
)


class ServiceError(Exception):
    """The server refuses the request, or answers with what is no JSON; the text says which setting to check."""


class ServiceTooLarge(ServiceError):
    """The server takes less at once."""


class ServiceUnavailable(ServiceError):
    """The server cannot be reached, is overloaded or takes too long; trying again may help."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how it lets us in; with the names of the settings that say so, for the words of errors."""

    url: str
    api_key: str
    url_setting: str
    key_setting: str
    body_settings: str
    """Those that decide what is asked of the server, such as its model."""
    example: str
    """Of a URL."""

    def check(self) -> None:
        """Raise ConfigError for what would fail later in words that tell less, or tell too much."""
        if "@" in self.url:  # first, so that no other message shows it
            raise ConfigError(f"{self.url_setting} holds a user or password; give a token as {self.key_setting}")
        try:
            parsed = httpx.URL(self.url)
            is_address = parsed.scheme in ("http", "https") and parsed.host != "" and (parsed.port or 80) < 2**16
        except httpx.InvalidURL:
            is_address = False
        if not is_address:
            raise ConfigError(f"{self.url_setting} {self.url!r} is no address; give one like {self.example!r}")
        if parsed.query or parsed.fragment:
            raise ConfigError(f"{self.url_setting} {self.url!r} has a query; give one like {self.example!r}")
        if not (self.api_key.isascii() and self.api_key.isprintable() and " " not in self.api_key):
            # The HTTP library would say so with the key in its words.
            raise ConfigError(f"{self.key_setting} holds a blank, a line break or a character outside ASCII")


class JsonService:
    """Posts JSON to one server. Thread-safe; holds a pool of connections."""

    def __init__(
        self, name: str, address: Address, *, timeout: float, retries: int, first_delay: float, longest_wait: float
    ) -> None:
        """`timeout` is for one answer; tries follow one another after `first_delay`, then twice as long each time. A
        server that asks to be left alone for more than `longest_wait` is not waited for. All in seconds.
        """
        address.check()
        self._name = name
        self._address = address
        self._url = address.url.rstrip("/")
        self._timeout = timeout
        self._retries = retries
        self._first_delay = first_delay
        self._longest_wait = longest_wait
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {address.api_key}"} if address.api_key else {},
            trust_env=False,  # a proxy that the configuration does not name would be a surprise
        )

    def post(self, path: str, body: Any, *, deadline: float | None = None, stop: threading.Event | None = None) -> Any:
        """The JSON that the server answers with; `path` is put behind the URL.

        Tried again when that may help, until `deadline` on the clock `time.monotonic`, or `stop` is set. Raises
        ServiceTooLarge, ServiceUnavailable, ServiceError.
        """
        stop = stop or threading.Event()
        tried = 0
        while True:
            tried += 1
            try:
                return self._try(path, body, deadline)
            except _Passing as passing:
                delay = min(MAX_DELAY, self._first_delay * 2 ** (tried - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
                delay = max(delay, passing.asked)
                late = deadline is not None and time.monotonic() + delay >= deadline
                if tried > self._retries or delay > self._longest_wait or late or stop.wait(delay):
                    times = "once" if tried == 1 else f"{tried} times"
                    wish = f", and it asks to wait for {passing.asked:,.0f} s" if passing.asked else ""
                    raise ServiceUnavailable(
                        f"{passing}; tried {times}{wish}; try again later, or see whether the server at "
                        f"{self._address.url_setting} is well"
                    ) from passing.__cause__

    def _try(self, path: str, body: Any, deadline: float | None) -> Any:
        until = time.monotonic() + self._timeout
        until = until if deadline is None else min(until, deadline)
        seconds = until - time.monotonic()
        where = f"{self._name} at {self._address.url}"
        if seconds <= 0:
            raise _Passing(f"{where} did not answer all requests within {self._timeout:g} s")
        timeout = httpx.Timeout(seconds, connect=min(seconds, 10.0))
        try:
            with self._client.stream("POST", self._url + path, json=body, timeout=timeout) as response:
                content = _read(response, until)
        except (httpx.TimeoutException, TimeoutError) as exc:
            raise _Passing(f"{where} did not answer within {self._timeout:g} s") from exc
        except httpx.RequestError as exc:
            raise _Passing(f"{where} cannot be reached: {exc or type(exc).__name__}") from exc
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response, content)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise ServiceError(
                f"{where} sent {self.shown(_words(content))!r}, which is no JSON; check {self._address.url_setting}"
            ) from exc

    def _refusal(self, response: httpx.Response, content: bytes) -> Exception:
        status, said = response.status_code, _words(content)
        text = f"{self._name} at {self._address.url} answered {status}: {self.shown(said)}"
        if _is_too_large(status, said):
            return ServiceTooLarge(text)
        if status >= 500 or status in PASSING:
            return _Passing(text, retry_after(response.headers.get("retry-after", "")))
        address = self._address
        if status in (401, 403):
            return ServiceError(f"{text}; check {address.key_setting}")
        if status in (404, 405) or status < 400:
            where = f"{address.url_setting}, which is like {address.example!r}"
            return ServiceError(f"{text}; check {where}, and {address.body_settings}")
        return ServiceError(f"{text}; check {address.body_settings}")

    def shown(self, said: str) -> str:
        """The beginning of what a server says, without our key, which some repeat."""
        key = self._address.api_key
        return (said.replace(key, "(secret)") if key else said)[:MAX_ERROR_CHARACTERS]


def _is_too_large(status: int, said: str) -> bool:
    """TEI says 413 or 422, OpenAI and vLLM 400, llama.cpp 500."""
    if status in (400, 422):
        return bool(_SAYS_TOO_LARGE.search(said)) and "dimension" not in said
    return status == 413 or (status == 500 and "too large" in said)


def retry_after(value: str) -> float:
    """Seconds from a Retry-After header, which has them or a date; 0 when it has neither."""
    try:
        return min(max(0.0, float(value)), 1e9)  # of what is no number, too, 0
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


class _Passing(Exception):
    """What may pass; `asked` is for how many seconds the server asks to be left alone."""

    def __init__(self, text: str, asked: float = 0.0) -> None:
        super().__init__(text)
        self.asked = asked


def _read(response: httpx.Response, until: float) -> bytes:
    """The body. A server may send a byte now and then for ever: the HTTP library's timeout is for each of them."""
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if time.monotonic() > until:
            raise TimeoutError
        if len(content) > MAX_ANSWER_BYTES:
            raise ServiceError(
                f"{response.request.url} answers with more than {MAX_ANSWER_BYTES:,} bytes; check what it is"
            )
    return bytes(content)


def _words(content: bytes) -> str:
    """What a server says of an error: OpenAI's {"error": {"message"}}, or {"error"}, {"message"}, {"detail"}."""
    text = content.decode("utf-8", "replace")
    try:
        body = json.loads(content)
        while isinstance(body, dict):
            body = next(body[key] for key in ("error", "message", "detail") if body.get(key))
    except (ValueError, StopIteration, RecursionError):
        return text
    return body if isinstance(body, str) else text

"""Any server that speaks /v1/chat/completions with streaming: vLLM, TGI, Ollama, llama.cpp, gateways.

Only what they all understand is used: messages, max_tokens, temperature, stream; the usage comes in the last event
where a server honours `stream_options`.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from generation.ports import ChatRequest, Delta
from generation.records import Usage
from retrieval.errors import ChatModelError, ChatModelUnavailable, ConfigError

MAX_ERROR_CHARACTERS = 300
"""Of a server's own words in our message."""

UNAVAILABLE = (408, 425, 429)
"""Statuses below 500 that may pass: timeout, too early, too many requests."""


class OpenAIChatModel:
    """One model of one server. Thread-safe; holds a pool of connections until `close`."""

    def __init__(self, *, base_url: str, model: str, api_key: str | None = None, timeout: float = 60.0) -> None:
        """`base_url` ends with the version, as in 'http://localhost:8000/v1'; `timeout` is in seconds, per read."""
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url {base_url!r} is no http(s) address; give one like 'http://localhost:8000/v1'")
        self.name = f"openai:{model}"
        self._model = model
        try:
            self._where = str(httpx.URL(base_url).copy_with(userinfo=b""))
        except httpx.InvalidURL as exc:
            raise ConfigError(f"base_url is no address: {exc}; give one like 'http://localhost:8000/v1'") from exc
        self._timeout = timeout
        self._client = httpx.Client(
            base_url=base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            trust_env=False,  # a proxy that the configuration does not name would be a surprise
        )

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        body = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            with self._client.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise self._refused(response)
                yield from self._deltas(response)
        except httpx.TimeoutException as exc:
            raise ChatModelUnavailable(
                f"{self.name} at {self._where} was silent for {self._timeout:g} s; try again, "
                "or raise generation.timeout"
            ) from exc
        except httpx.TransportError as exc:
            raise ChatModelUnavailable(
                f"{self.name} at {self._where} cannot be reached: {exc or type(exc).__name__}; is the server running?"
            ) from exc

    def close(self) -> None:
        """Drop the connections."""
        self._client.close()

    def _deltas(self, response: httpx.Response) -> Iterator[Delta]:
        """The events of a stream, until [DONE]; one that ends without saying so was cut off."""
        stopped = False
        for line in _lines(response):
            field, _, value = line.partition(":")
            if field != "data" or not value.strip():
                continue  # comments, event names and blank lines
            if value.strip() == "[DONE]":
                return
            delta = self._delta(value)
            stopped = stopped or delta.stop_reason is not None
            yield delta
        if not stopped:
            raise ChatModelUnavailable(f"{self.name} at {self._where} broke off in the middle of an answer; try again")

    def _delta(self, data: str) -> Delta:
        try:
            event: Any = json.loads(data)
            if event.get("error"):
                raise ChatModelError(f"{self.name} at {self._where} failed: {_message(event)}")
            choices = event.get("choices") or [{}]
            content = (choices[0].get("delta") or {}).get("content") or ""
            if not isinstance(content, str):
                raise TypeError(content)
            return Delta(content, _usage(event.get("usage")), choices[0].get("finish_reason"))
        except (ValueError, AttributeError, TypeError, LookupError) as exc:
            raise ChatModelError(
                f"{self.name} at {self._where} sent {data[:MAX_ERROR_CHARACTERS]!r}, which is no chat completion "
                "event; is it an OpenAI-compatible server?"
            ) from exc

    def _refused(self, response: httpx.Response) -> ChatModelError:
        status = response.status_code
        try:
            said = _message(response.json())
        except ValueError:
            said = response.text
        text = f"{self.name} at {self._where} answered {status}: {said[:MAX_ERROR_CHARACTERS]}"
        if status in UNAVAILABLE or status >= 500:
            return ChatModelUnavailable(f"{text}; try again later")
        return ChatModelError(f"{text}; check generation.model, generation.base_url and generation.api_key")


def _lines(response: httpx.Response) -> Iterator[str]:
    """Lines that end in a line feed: not those of str.splitlines, for JSON may hold U+2028 and its like as they are."""
    rest = b""
    for piece in response.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
    yield rest.decode("utf-8", "replace")


def _message(body: Any) -> str:  # whatever JSON a server sends
    """The words of an error body: OpenAI's {"error": {"message"}}, or {"error"}, {"message"}, {"detail"}."""
    if isinstance(body, dict):
        for key in ("error", "message", "detail"):
            if body.get(key):
                return _message(body[key])
    return body if isinstance(body, str) else json.dumps(body)


def _usage(data: Any) -> Usage | None:  # whatever JSON a server sends
    if not isinstance(data, dict):
        return None
    return Usage(int(data.get("prompt_tokens") or 0), int(data.get("completion_tokens") or 0))

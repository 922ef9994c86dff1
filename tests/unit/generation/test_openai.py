"""The OpenAI-compatible chat model, against a real HTTP server on this machine."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from generation.chat_models.openai import OpenAIChatModel
from generation.ports import ChatRequest, Delta, Message
from generation.records import Usage
from retrieval.errors import ChatModelError, ChatModelUnavailable, ConfigError
from tests.unit.generation.serving import Served, serving

REQUEST = ChatRequest((Message("system", "Rules."), Message("user", "Why?")), "Why?", (), max_tokens=9)


def _event(**delta: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": None}]}).encode() + b"\n\n"


STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\r\n\r\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


def _model(served: Served, **options: object) -> OpenAIChatModel:
    return OpenAIChatModel(base_url=f"{served.url}/v1", model="tiny", **options)  # type: ignore[arg-type]


def _run(*pieces: bytes, status: int = 200) -> list[Delta]:
    with serving(lambda: iter(pieces), status=status, media_type="text/event-stream") as served:
        return list(_model(served).stream(REQUEST))


def test_streams_text_stop_reason_and_usage() -> None:
    """Comments and roles are passed over; the usage comes last."""
    said = (_event(role="assistant"), _event(content="Be"), _event(content="cause"))
    deltas = _run(b": ping\n\n", *said, STOP, USAGE, DONE)
    assert "".join(delta.text for delta in deltas) == "Because"
    assert deltas[-1].usage == Usage(12, 3)
    assert "stop" in [delta.stop_reason for delta in deltas]


def test_asks_what_every_server_understands() -> None:
    """Model, messages, limits, and the key as a bearer token only."""
    with serving(lambda: iter([STOP, DONE]), media_type="text/event-stream") as served:
        list(_model(served, api_key="s3cret").stream(REQUEST))
    ((path, headers, body),) = served.requests
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer s3cret"
    assert body["messages"] == [{"role": "system", "content": "Rules."}, {"role": "user", "content": "Why?"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("tiny", 9, 0.0, True)
    assert "s3cret" not in json.dumps(body)


def test_events_may_be_cut_anywhere() -> None:
    """Also within a character, and a line separator of Unicode is no end of a line."""
    raw = "data: " + json.dumps({"choices": [{"delta": {"content": "Zürich\u2028ist"}}]}, ensure_ascii=False) + "\n\n"
    data = raw.encode()
    deltas = _run(*(data[i : i + 1] for i in range(len(data))), STOP, DONE)
    assert "".join(delta.text for delta in deltas) == "Zürich\u2028ist"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_unavailable(status: int) -> None:
    """Too many requests and failures of the server: try again."""
    with pytest.raises(ChatModelUnavailable, match=f"answered {status}: overloaded"):
        _run(b'{"error": {"message": "overloaded"}}', status=status)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no such model"}}',
        b'{"error": "no such model"}',
        b'{"detail": "no such model"}',
        b"no such model",
    ],
)
def test_a_refusal_carries_the_words_of_the_server(body: bytes) -> None:
    """In whichever shape; and says what to look at."""
    with pytest.raises(ChatModelError, match=r"answered 404: no such model; check generation\.model") as caught:
        _run(body, status=404)
    assert not isinstance(caught.value, ChatModelUnavailable)


def test_an_error_within_the_stream_is_one() -> None:
    """What came before has been given; then it is raised."""
    with pytest.raises(ChatModelError, match="out of memory"):
        _run(_event(content="Be"), b'data: {"error": {"message": "out of memory"}}\n\n')


@pytest.mark.parametrize("data", [b"data: <html>\n\n", b"data: 3\n\n", b'data: {"choices": [7]}\n\n'])
def test_what_is_no_event_is_an_error(data: bytes) -> None:
    """Another kind of server, most likely."""
    with pytest.raises(ChatModelError, match="OpenAI-compatible"):
        _run(data)


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    """Half an answer must not pass for a whole one."""
    with pytest.raises(ChatModelUnavailable, match="broke off"):
        _run(_event(content="Be"))


def test_no_server_is_unavailable() -> None:
    """With where it was looked for, but not the password that may be in the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = OpenAIChatModel(base_url=f"http://user:pa55word@127.0.0.1:{port}/v1", model="tiny")
    with pytest.raises(ChatModelUnavailable, match=f"127.0.0.1:{port}/v1 cannot be reached") as caught:
        list(model.stream(REQUEST))
    assert "pa55word" not in str(caught.value)


def test_a_silent_server_is_unavailable() -> None:
    """After the timeout, which is a setting."""

    def pieces() -> Iterator[bytes]:
        yield _event(content="Be")
        time.sleep(0.6)
        yield STOP

    with (
        serving(pieces, media_type="text/event-stream") as served,
        pytest.raises(ChatModelUnavailable, match=r"silent for 0\.2 s"),
    ):
        list(_model(served, timeout=0.2).stream(REQUEST))


def test_closing_hangs_up() -> None:
    """A server that is left can stop writing."""

    def pieces() -> Iterator[bytes]:
        for _ in range(500):
            yield _event(content="more " * 200)
            time.sleep(0.002)

    with serving(pieces, media_type="text/event-stream") as served:
        stream = _model(served).stream(REQUEST)
        next(stream)
        stream.close()  # type: ignore[attr-defined]  # it is a generator
        assert served.broken.wait(5)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://models/v1", "http://host:port/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match="base_url"):
        OpenAIChatModel(base_url=url, model="tiny")

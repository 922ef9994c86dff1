"""The Bedrock chat model: boto3 itself, talking to a local server that frames events as AWS does."""

import json
import struct
import sys
import time
import zlib
from collections.abc import Iterator

import pytest

from generation.chat_models.bedrock import BedrockChatModel
from generation.ports import ChatRequest, Delta, Message
from generation.records import Usage
from retrieval.errors import ChatModelError, ChatModelUnavailable, MissingExtra
from tests.unit.generation.serving import serving

pytest.importorskip("boto3")

MODEL = "amazon.nova-lite-v1:0"
REQUEST = ChatRequest((Message("system", "Rules."), Message("user", "Why?")), "Why?", (), max_tokens=9)


@pytest.fixture(autouse=True)
def _dummy_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own AWS configuration is read."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def _frame(headers: dict[str, str], payload: object) -> bytes:
    """One message of the AWS event stream: lengths, their CRC, headers, payload, CRC of all."""
    body = json.dumps(payload).encode()
    head = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(body), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + body
    return message + struct.pack("!I", zlib.crc32(message))


def _event(kind: str, payload: object) -> bytes:
    return _frame({":message-type": "event", ":event-type": kind, ":content-type": "application/json"}, payload)


def _text(text: str) -> bytes:
    return _event("contentBlockDelta", {"delta": {"text": text}, "contentBlockIndex": 0})


START = _event("messageStart", {"role": "assistant"})
STOP = _event("messageStop", {"stopReason": "end_turn"})
METADATA = _event(
    "metadata",
    {"usage": {"inputTokens": 12, "outputTokens": 3, "totalTokens": 15}, "metrics": {"latencyMs": 5}},
)


def _model(url: str) -> BedrockChatModel:
    return BedrockChatModel(model=MODEL, region="eu-central-1", endpoint_url=url, timeout=5)


def _run(*pieces: bytes, status: int = 200, media_type: str = "application/vnd.amazon.eventstream") -> list[Delta]:
    with serving(lambda: iter(pieces), status=status, media_type=media_type) as served:
        return list(_model(served.url).stream(REQUEST))


def test_streams_text_stop_reason_and_usage() -> None:
    """Events that show nothing are passed over."""
    stop_block = _event("contentBlockStop", {"contentBlockIndex": 0})
    deltas = _run(START, _text("Be"), _text("cause"), stop_block, STOP, METADATA)
    assert "".join(delta.text for delta in deltas) == "Because"
    assert [delta.stop_reason for delta in deltas if delta.stop_reason] == ["end_turn"]
    assert deltas[-1].usage == Usage(12, 3)


def test_frames_may_be_cut_anywhere() -> None:
    """The wire knows no frames."""
    data = START + _text("Zürich") + STOP
    assert "".join(delta.text for delta in _run(*(data[i : i + 7] for i in range(0, len(data), 7)))) == "Zürich"


def test_asks_as_converse_wants_it() -> None:
    """System apart from the messages, limits in inferenceConfig, signed."""
    with serving(lambda: iter([STOP]), media_type="application/vnd.amazon.eventstream") as served:
        list(_model(served.url).stream(REQUEST))
    ((path, headers, body),) = served.requests
    assert path == "/model/amazon.nova-lite-v1%3A0/converse-stream"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=dummy/")
    assert body == {
        "system": [{"text": "Rules."}],
        "messages": [{"role": "user", "content": [{"text": "Why?"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.0},
    }


def test_an_error_within_the_stream_is_raised() -> None:
    """Throttling in mid-sentence may pass."""
    headers = {":message-type": "exception", ":exception-type": "throttlingException"}
    with pytest.raises(ChatModelUnavailable, match=r"throttlingException.*Slow down"):
        _run(START, _text("Be"), _frame(headers, {"message": "Slow down"}))


def test_a_refusal_carries_the_words_of_the_service() -> None:
    """And says what to look at."""
    body = json.dumps({"__type": "AccessDeniedException", "message": "No access to this model"}).encode()
    with pytest.raises(ChatModelError, match=r"AccessDeniedException: No access.*generation\.model") as caught:
        _run(body, status=403, media_type="application/json")
    assert not isinstance(caught.value, ChatModelUnavailable)


def test_throttling_is_unavailable() -> None:
    """Try again later."""
    body = json.dumps({"__type": "ThrottlingException", "message": "Too many tokens"}).encode()
    with pytest.raises(ChatModelUnavailable, match="Too many tokens"):
        _run(body, status=429, media_type="application/json")


def test_a_damaged_frame_is_no_answer() -> None:
    """A wrong checksum is an error, not text."""
    damaged = bytearray(_text("Be"))
    damaged[-6] ^= 1
    with pytest.raises(ChatModelUnavailable):
        _run(START, bytes(damaged), STOP)


def test_a_service_that_falls_silent_is_unavailable() -> None:
    """In mid-sentence, where boto3 itself translates no errors."""

    def pieces() -> Iterator[bytes]:
        yield START + _text("Be")
        time.sleep(0.6)
        yield STOP

    with serving(pieces, media_type="application/vnd.amazon.eventstream") as served:
        model = BedrockChatModel(model=MODEL, region="eu-central-1", endpoint_url=served.url, timeout=0.2)
        with pytest.raises(ChatModelUnavailable, match="timed out"):
            list(model.stream(REQUEST))


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    """Half an answer must not pass for a whole one."""
    with pytest.raises(ChatModelUnavailable, match="broke off"):
        _run(START, _text("Be"))


def test_no_server_is_unavailable() -> None:
    """With what boto3 says of it."""
    with pytest.raises(ChatModelUnavailable, match="cannot be reached"):
        list(_model("http://127.0.0.1:9").stream(REQUEST))


def test_no_region_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which setting is missing."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(ChatModelError, match=r"generation\.region"):
        BedrockChatModel(model=MODEL)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which command installs it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"footnote\[bedrock\]"):
        BedrockChatModel(model=MODEL)


def test_closing_ends_the_call() -> None:
    """The event stream is closed, whatever is still to come."""

    def pieces() -> Iterator[bytes]:
        yield from [START] + [_text("more " * 500)] * 3000

    with serving(pieces, media_type="application/vnd.amazon.eventstream") as served:
        stream = _model(served.url).stream(REQUEST)
        next(stream)
        stream.close()  # type: ignore[attr-defined]  # it is a generator
        assert served.broken.wait(5)

"""Answers over HTTP: whole, streamed, failing midway, and abandoned by the client."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient

from api.app import create_app
from api.schemas import AnswerResponse
from api.settings import ApiSettings
from retrieval.errors import ChatModelUnavailable
from tests.unit.api.conftest import Stage

ANSWER = "/v1/collections/demo/answer"


def _events(text: str) -> list[tuple[str, Any]]:
    """Name and data of each event; comments are left out."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n") if line) for block in text.split("\n\n") if block]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def _ask(client: TestClient, **body: object) -> Any:
    return client.post(ANSWER, json={"question": "Which colour?", **body})


def test_answer_has_the_documented_shape(client: TestClient) -> None:
    """The JSON of an answer has exactly the members that the schema promises."""
    body = _ask(client).json()
    assert AnswerResponse.model_validate(body).model_dump(mode="json").items() <= body.items()
    assert body["status"] == "answered"
    assert body["text"] == "Buoys are red. Käse 🧀 is not."


def test_citation_points_into_the_document(client: TestClient) -> None:
    """What a citation says stands in the document, read through the API at the same offsets."""
    citation = _ask(client).json()["sentences"][0]["citations"][0]
    where = {"start": citation["start"], "end": citation["end"], "version": citation["version"]}
    document = client.get(f"/v1/collections/demo/documents/{citation['doc_id']}", params=where).json()
    assert document["text"] == citation["quote"]


def test_stream_ends_in_what_json_says(client: TestClient) -> None:
    """The sentences of the stream and its final object are those of the JSON answer, citations included."""
    whole = _ask(client).json()
    events = _events(_ask(client, stream=True).text)
    assert [name for name, _ in events] == ["sentence", "sentence", "answer"]
    assert [data for _, data in events[:-1]] == whole["sentences"]
    assert events[-1][1] == whole


def test_declined_answer_is_one_event(client: TestClient) -> None:
    """A declined answer streams no sentence, only the whole, which says why."""
    ((name, data),) = _events(_ask(client, question="Is it declined?", stream=True).text)
    assert name == "answer"
    assert data == _ask(client, question="Is it declined?").json()
    assert data["status"] == "declined"


def test_stream_headers_keep_proxies_from_holding_it_back(client: TestClient) -> None:
    """A stream is neither cached nor buffered on its way."""
    headers = _ask(client, stream=True).headers
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"


def test_error_before_the_first_sentence_is_a_plain_problem(stage: Stage, client: TestClient) -> None:
    """As long as nothing was sent, a stream fails with the status that JSON would have."""
    stage.answerer.fail_before = (0, ChatModelUnavailable("down"))
    response = _ask(client, stream=True)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"


def test_unknown_collection_is_a_plain_problem_for_a_stream_too(client: TestClient) -> None:
    """Asking a collection that is not there never starts a stream."""
    response = client.post("/v1/collections/nope/answer", json={"question": "x", "stream": True})
    assert response.status_code == 404


def test_error_midway_is_the_last_event(stage: Stage, client: TestClient) -> None:
    """After the first sentence an error comes as an event, with the same body as a problem."""
    stage.answerer.fail_before = (1, ChatModelUnavailable("cannot reach llm.internal"))
    response = _ask(client, stream=True)
    assert response.status_code == 200
    name, data = _events(response.text)[-1]
    assert name == "error"
    assert (data["status"], data["instance"]) == (503, ANSWER)
    assert data["request_id"] == response.headers["x-request-id"]
    assert "llm.internal" not in response.text


def test_silence_is_bridged_by_comments(stage: Stage, client_with: Callable[..., TestClient]) -> None:
    """While the next sentence takes its time, heartbeats go out; they change nothing of the events."""
    gate = threading.Event()
    stage.answerer.wait_before = (1, gate)
    threading.Timer(0.3, gate.set).start()
    response = _ask(client_with(heartbeat_seconds=0.05), stream=True)
    assert response.text.count(": still working\n\n") >= 2
    assert [name for name, _ in _events(response.text)] == ["sentence", "sentence", "answer"]


def test_stream_is_worked_on_in_one_thread(stage: Stage, client: TestClient) -> None:
    """A snapshot that belongs to the thread which opened it survives from the first sentence to the last."""
    _ask(client, stream=True)
    assert len(stage.answerer.threads) == 1


def test_client_that_leaves_ends_the_work(stage: Stage) -> None:
    """When the client disconnects in mid-stream, the answerer's iterator is closed before its next sentence is sent."""
    gate = threading.Event()
    stage.answerer.wait_before = (1, gate)
    sent = asyncio.run(_ask_and_leave(stage, gate))
    assert stage.answerer.closed.is_set()
    assert not stage.answerer.finished
    assert b"event: answer" not in sent


async def _ask_and_leave(stage: Stage, gate: threading.Event) -> bytes:
    """Speak ASGI: send the question, take the first sentence, disconnect; returns what was sent."""
    app = create_app(stage.services(), ApiSettings())
    body = json.dumps({"question": "Which colour?", "stream": True}).encode()
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
    sent = bytearray()

    async def send(message: dict[str, Any]) -> None:
        sent.extend(message.get("body", b""))
        if b"event: sentence" in sent:
            inbox.put_nowait({"type": "http.disconnect"})
            asyncio.get_running_loop().call_later(0.1, gate.set)

    scope = {
        "type": "http", "method": "POST", "path": ANSWER, "raw_path": ANSWER.encode(), "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1), "server": ("x", 80),
        "scheme": "http", "root_path": "", "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    await asyncio.wait_for(app(scope, inbox.get, send), timeout=10)  # type: ignore[arg-type]  # plain dicts are enough
    return bytes(sent)

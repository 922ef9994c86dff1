"""The application under a real uvicorn: what only shows over a real connection."""

import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from api.app import create_app
from tests.unit.api.conftest import Stage

ANSWER = "/v1/collections/demo/answer"
STREAMED = {"question": "Which colour?", "stream": True}


@pytest.fixture
def address(stage: Stage) -> Iterator[str]:
    """The base URL of a server over the stage's fakes."""
    server = uvicorn.Server(uvicorn.Config(create_app(stage.services()), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_sentences_arrive_one_by_one(stage: Stage, address: str) -> None:
    """The first sentence can be read while the second is still being written."""
    gate = threading.Event()
    stage.answerer.wait_before = (1, gate)
    with httpx.stream("POST", address + ANSWER, json=STREAMED, timeout=10) as response:
        pieces = response.iter_text()
        first = next(pieces)
        assert first.startswith("event: sentence")
        assert not stage.answerer.closed.is_set()
        gate.set()
        assert "event: answer" in "".join(pieces)


def test_closed_connection_ends_the_work(stage: Stage, address: str) -> None:
    """A client that hangs up after the first sentence frees the worker at the next one; the server goes on."""
    gate = threading.Event()
    stage.answerer.wait_before = (1, gate)
    with httpx.stream("POST", address + ANSWER, json=STREAMED, timeout=10) as response:
        next(response.iter_raw())
    time.sleep(0.1)  # for the server to notice
    gate.set()
    assert stage.answerer.closed.wait(timeout=5)
    assert not stage.answerer.finished
    assert httpx.get(address + "/healthz").status_code == 200

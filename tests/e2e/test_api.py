"""The real service: `footnote ingest`, then `footnote serve` as a process of its own, spoken to over HTTP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

HANDBOOK = """# Harbour handbook

## Opening hours

The harbour office opens at 07:30 and closes at 18:00, from Monday to Friday. On Saturdays it opens at 09:00.

## Mooring

A berth costs 2.40 EUR per metre and night. Visitors may stay for at most 14 nights in a row. Shore power is included.

## Emergencies 🛟

The harbour master on duty is called on VHF channel 12. The first-aid room is beside the crane on quay 4.
"""
NOTICE = """<html><head><title>Crane notice</title></head><body><h1>Crane notice</h1>
<p>The crane on quay 4 lifts up to 12 tonnes. Lifting has to be booked two days ahead with Marta Lindgren.</p>
</body></html>"""
MOORING = {"question": "How many nights may visitors stay?"}
KEY = "e2e-key"


class Server:
    """A collection on disk and a server over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.papers = folder / "papers"
        self.papers.mkdir()
        (self.papers / "handbook.md").write_text(HANDBOOK, encoding="utf-8")
        (self.papers / "notice.html").write_text(NOTICE, encoding="utf-8")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")} | {
            "FOOTNOTE_RETRIEVAL__PATH": str(folder / "collections"),
            "FOOTNOTE_API__API_KEYS": json.dumps([KEY]),
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run one command of `footnote`; returns its stdout."""
        done = subprocess.run(
            [sys.executable, "-m", "footnote", *arguments],
            env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout

    def start(self) -> "subprocess.Popen[bytes]":
        """Start serving; the log goes to `serve.log`."""
        with (self.folder / "serve.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "footnote", "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                env=self.env, cwd=self.folder, stderr=log, stdout=log,
            )  # fmt: skip

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Until the server is ready."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail((self.folder / "serve.log").read_text())

    def client(self) -> httpx.Client:
        """A client that has the key."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"authorization": f"Bearer {KEY}"}, timeout=60
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two documents ingested, and a server that runs for all tests of this file."""
    server = Server(tmp_path_factory.mktemp("api"))
    server.run("ingest", str(server.papers), "--collection", "harbour")
    process = server.start()
    try:
        server.wait(process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of the running server."""
    with server.client() as client:
        yield client


def _answer(client: httpx.Client, **body: object) -> Any:
    response = client.post("/v1/collections/harbour/answer", json={**MOORING, **body})
    assert response.status_code == 200, response.text
    return response.json()


def _events(client: httpx.Client, **body: object) -> list[tuple[str, Any]]:
    events = []
    request = {**MOORING, **body, "stream": True}
    with client.stream("POST", "/v1/collections/harbour/answer", json=request) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
    return events


def _timeless(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "timings"}


def test_answer_holds_the_fact_and_its_footnote(client: httpx.Client) -> None:
    """A question is answered with the sentence that answers it, cited from its document."""
    answer = _answer(client)
    assert answer["status"] == "answered"
    assert "14 nights" in answer["text"]
    assert answer["sentences"][0]["citations"][0]["source_uri"].endswith("handbook.md")


@pytest.mark.parametrize(
    "question", [MOORING["question"], "How much can the crane lift?", "Where is the first-aid room?"]
)
def test_every_quote_stands_where_its_footnote_says(client: httpx.Client, question: str) -> None:
    """Read through the API, the document's text at a citation's offsets is the quote, emoji before it or not."""
    citations = [citation for each in _answer(client, question=question)["sentences"] for citation in each["citations"]]
    assert citations
    for citation in citations:
        where = {name: citation[name] for name in ("start", "end", "version")}
        document = client.get(f"/v1/collections/harbour/documents/{citation['doc_id']}", params=where)
        assert document.json()["text"] == citation["quote"]


def test_stream_and_json_say_the_same(client: httpx.Client) -> None:
    """The streamed sentences and the final event are the JSON answer, but for the timings."""
    whole = _answer(client)
    *sentences, (name, last) = _events(client)
    assert name == "answer"
    assert _timeless(last) == _timeless(whole)
    assert [data for _, data in sentences] == whole["sentences"]


def test_question_without_an_answer_is_declined(client: httpx.Client) -> None:
    """What the documents do not say is declined, in a sentence and without citations."""
    answer = _answer(client, question="Who won the football world cup in 1998?")
    assert answer["status"] == "declined"
    assert [sentence["citations"] for sentence in answer["sentences"]] == [[]]


def test_answer_of_the_api_passes_verification(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    """`footnote verify` accepts the JSON of the API as it came."""
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(_answer(client)), encoding="utf-8")
    server.run("verify", str(path))


def test_search_finds_and_filters(client: httpx.Client) -> None:
    """A search finds the chunk; a filter on a built-in field keeps the other document out."""
    body = {"query": "crane", "k": 5, "filter": {"media_type": "text/html"}}
    results = client.post("/v1/collections/harbour/search", json=body).json()["results"]
    assert [result["title"] for result in results] == ["Crane notice"]


def test_unknown_things_are_problems(client: httpx.Client) -> None:
    """An unknown collection and an unknown field answer as problems over the wire too."""
    response = client.post("/v1/collections/nope/search", json={"query": "x"})
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    body = {"query": "x", "filter": {"yaer": 1}}
    assert client.post("/v1/collections/harbour/search", json=body).json()["type"].endswith("unknown-field")


def test_key_is_needed(server: Server) -> None:
    """Without the key nothing under /v1 answers."""
    assert httpx.get(f"http://127.0.0.1:{server.port}/v1/collections").status_code == 401


def test_many_questions_at_once(client: httpx.Client) -> None:
    """Parallel requests, more than there are threads, all get the answer that one alone gets."""
    alone = _timeless(_answer(client))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: _timeless(_answer(client)), range(24)))
    assert all(answer == alone for answer in answers)


def test_client_that_leaves_does_no_harm(client: httpx.Client) -> None:
    """Streams abandoned at their first byte leave a server that goes on answering."""
    for _ in range(12):  # more than there are worker threads
        with client.stream("POST", "/v1/collections/harbour/answer", json={**MOORING, "stream": True}) as response:
            next(response.iter_raw())
    assert _answer(client)["status"] == "answered"


def test_new_documents_show_without_a_restart(server: Server, client: httpx.Client) -> None:
    """What another process ingests while the server runs is found by the next question."""
    text = "The last ferry to Skarholm leaves at 22:40 from quay 9."
    (server.papers / "ferry.txt").write_text(text, encoding="utf-8")
    server.run("ingest", str(server.papers), "--collection", "harbour")
    assert "22:40" in _answer(client, question="When does the last ferry to Skarholm leave?")["text"]


def test_collection_made_later_is_served(server: Server, client: httpx.Client) -> None:
    """A collection that is made while the server runs is listed and can be searched."""
    server.run("ingest", str(server.papers / "notice.html"), "--collection", "later")
    assert "later" in client.get("/v1/collections").json()["collections"]
    assert client.post("/v1/collections/later/search", json={"query": "crane"}).json()["results"]


def test_collection_made_anew_replaces_the_open_one(server: Server, client: httpx.Client) -> None:
    """When a collection's folder is removed and filled again, the server neither shows the old one nor breaks."""
    body = {"query": "crane"}
    server.run("ingest", str(server.papers / "notice.html"), "--collection", "passing")
    assert client.post("/v1/collections/passing/search", json=body).json()["results"]
    shutil.rmtree(server.folder / "collections" / "passing")
    assert client.post("/v1/collections/passing/search", json=body).status_code == 404
    server.run("ingest", str(server.papers / "handbook.md"), "--collection", "passing")
    results = client.post("/v1/collections/passing/search", json=body).json()["results"]
    assert {result["title"] for result in results} == {"Harbour handbook"}


def test_log_has_no_questions(server: Server, client: httpx.Client) -> None:
    """The server's log has a line for a question, without its words."""
    response = client.post("/v1/collections/harbour/answer", json={"question": "Is the zanzibar berth free?"})
    path, deadline = server.folder / "serve.log", time.monotonic() + 10
    while response.headers["x-request-id"] not in path.read_text():  # written just after the response went out
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "zanzibar" not in path.read_text()


def test_server_stops_when_told(tmp_path: Path) -> None:
    """SIGTERM ends the server within seconds, by exit code 0 or by that signal, collections or not."""
    server = Server(tmp_path)
    process = server.start()
    server.wait(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) in (0, -signal.SIGTERM)

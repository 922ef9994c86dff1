"""Embedding services on this machine, in their wire formats: what a test says they answer, and what they were asked."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes import FakeEmbedder


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its path, headers (names in lower case), and body."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; a body that is no bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Served:
    """Where the service is, what it was asked, and how many requests it had at the same time at most."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    most: int = 0


@contextmanager
def serving(*first: Reply, then: Callable[[Call], Reply]) -> Iterator[Served]:
    """Answers the first requests with `first`, one by one, and all others as `then` says."""
    served, replies, lock, busy = Served(), list(first), threading.Lock(), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal busy
            text = self.rfile.read(int(self.headers["content-length"]))
            call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(text))
            with lock:
                served.calls.append(call)
                busy += 1
                served.most = max(served.most, busy)
                reply = replies.pop(0) if replies else None
            reply = reply or then(call)
            with lock:
                busy -= 1
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            with suppress(OSError):  # the client has gone
                self.send_response(reply.status)
                for name, value in {"content-length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output is for failures."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def vectors(texts: Sequence[str], dimension: int = 64) -> list[list[float]]:
    """Of the fake embedder, three times as long: services need not normalise."""
    made: list[list[float]] = (3 * FakeEmbedder(dimension).embed_documents(texts)).tolist()
    return made


def openai_embeddings(call: Call) -> Reply:
    """What /v1/embeddings answers, in as many dimensions as were asked for, else 64; it refuses empty texts."""
    if not all(text.strip() for text in call.body["input"]):
        return Reply({"error": {"message": "'$.input' is invalid.", "type": "invalid_request_error"}}, 400)
    made = vectors(call.body["input"], call.body.get("dimensions", 64))
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(made)]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return Reply({"object": "list", "data": data, "model": call.body["model"], "usage": usage})


def bedrock_embeddings(call: Call) -> Reply:
    """What /model/ID/invoke answers, for the families of Titan and Cohere; it refuses empty texts."""
    body = call.body
    if not all(text.strip() and len(text) <= 50_000 for text in body.get("texts", [body.get("inputText")])):
        error = {"message": "Malformed input request: #/inputText: expected minLength: 1, actual: 0"}
        return Reply(error, 400, {"x-amzn-errortype": "ValidationException"})
    if "inputText" in body:
        (vector,) = vectors([body["inputText"]], body.get("dimensions", 1536))
        return Reply({"embedding": vector, "inputTextTokenCount": 3, "embeddingsByType": {"float": vector}})
    made = vectors(body["texts"], body.get("output_dimension", 1024))
    named = {"id": "0", "texts": body["texts"]}
    if body.get("embedding_types"):
        return Reply({**named, "response_type": "embeddings_by_type", "embeddings": {"float": made}})
    return Reply({**named, "response_type": "embeddings_floats", "embeddings": made})

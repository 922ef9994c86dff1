"""A local HTTP server that answers as a test tells it to, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """Where the server is, and the requests that it got: path, headers in lower case, JSON body."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    broken: threading.Event = field(default_factory=threading.Event)
    """Set when a client went away before everything was written."""


@contextmanager
def serving(pieces: Callable[[], Iterator[bytes]], *, status: int = 200, media_type: str) -> Iterator[Served]:
    """Answers every POST with the pieces, each sent at once, and closes the connection behind them."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.requests.append((self.path, headers, json.loads(body)))
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.end_headers()
            try:
                for piece in pieces():
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:
                served.broken.set()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output is for failures."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

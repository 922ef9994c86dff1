"""Servers on this machine for tests of sources: S3 by moto, and web pages."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def s3() -> Iterator[str]:
    """URL of an empty S3 that accepts any credentials."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Request(BaseHTTPRequestHandler):
    """One request to `web`; handlers answer it with `reply`, or write to `wfile` what they like."""

    protocol_version = "HTTP/1.1"

    def reply(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; `content_type="text/html"` becomes the header Content-Type."""
        self.send_response_only(status)
        fields = {"content_length": str(len(body)), "connection": "close", **headers}
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


def _not_found(request: Request) -> None:
    request.reply(404, b"nothing here")


Handler = Callable[[Request], None]


class Site:
    """A web site on this machine: what it answers by path, and what it was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, Handler] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Path and headers (names in lower case) of each request."""
        self.url = ""

    def page(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> None:
        """Answer `path` always in the same way."""
        self.pages[path] = lambda request: request.reply(status, body, **headers)

    def asked(self, path: str) -> int:
        """How often `path` was asked for."""
        return sum(asked == path for asked, _ in self.requests)


@contextmanager
def web(context: ssl.SSLContext | None = None) -> Iterator[Site]:
    """A running site without pages, which answers 404; by HTTPS with a `context`."""
    site = Site()

    class Answering(Request):
        def do_GET(self) -> None:
            site.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            with suppress(OSError):  # the client has gone
                site.pages.get(self.path, _not_found)(self)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

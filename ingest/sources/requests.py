"""One HTTP request at a time: no proxies, cookies or automatic redirects; bodies decoded within limits."""

import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import certifi
import httpcore
import httpx

from ingest.sources.addresses import GuardedBackend, Resolver, resolve
from ingest.sources.local import too_large
from retrieval.errors import FetchError

_STEP = 2**16


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an answer, and its body as it comes."""

    url: httpx.URL
    status: int
    headers: httpx.Headers
    body: Iterator[bytes]
    """Decoded. Raises LimitExceeded for too many bytes, FetchError for a broken or unreadable one."""


class Requests:
    """Sends requests. Thread-safe: each has a connection of its own, as polite ones of one host are seconds apart."""

    def __init__(
        self, *, user_agent: str, max_bytes: int, allow_private: bool = False, resolver: Resolver = resolve
    ) -> None:
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "gzip", "Connection": "close"}
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        self._resolver = resolver
        self._tls = ssl.create_default_context(cafile=certifi.where())
        self._tls.load_default_certs()  # a company may have an authority of its own

    @contextmanager
    def get(self, url: httpx.URL, *, seconds: float, headers: Mapping[str, str] | None = None) -> Iterator[Response]:
        """The answer to one GET. Raises FetchError when there is none within `seconds`, its body included."""
        backend = GuardedBackend(allow_private=self._allow_private, seconds=seconds, resolver=self._resolver)
        fields = {"Host": url.netloc.decode("ascii"), **self._headers, **(headers or {})}
        address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
                pool.stream("GET", address, headers=list(fields.items())) as answer,
            ):
                received = httpx.Headers(answer.headers)
                body = self._body(answer.iter_stream(), received, str(url))
                yield Response(url, answer.status, received, body)
        except httpcore.TimeoutException as exc:
            raise FetchError(f"{str(url)!r} took longer than ingest.http_seconds allows; try again") from exc
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as exc:
            raise FetchError(f"{str(url)!r} cannot be fetched: {exc or type(exc).__name__}; try again") from exc

    def _body(self, blocks: Iterator[bytes], headers: httpx.Headers, name: str) -> Iterator[bytes]:
        declared = headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_bytes:
            raise self._too_large(name, int(declared[:20]))
        encoding = headers.get("Content-Encoding", "").strip().lower()
        limited = self._limited(blocks, name)
        if encoding in ("", "identity"):
            return limited
        if encoding in ("gzip", "x-gzip"):
            return self._limited(_gunzipped(limited, name), name)
        raise FetchError(f"{name!r} comes in the encoding {encoding!r}, which was not asked for")

    def _limited(self, blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
        size = 0
        for block in blocks:
            size += len(block)
            if size > self._max_bytes:
                raise self._too_large(name, size)
            yield block

    def _too_large(self, name: str, size: int) -> Exception:
        return too_large(name, size, self._max_bytes, "ingest.http_max_bytes")


def _gunzipped(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """A few bytes may become very many: never more than a block of them at a time."""
    decoder = zlib.decompressobj(31)  # 31: gzip, with the largest window
    try:
        for block in blocks:
            while block and not decoder.eof:
                yield decoder.decompress(block, _STEP)
                block = decoder.unconsumed_tail  # noqa: PLW2901 - what did not fit
        yield decoder.flush()
    except zlib.error as exc:
        raise FetchError(f"{name!r} comes damaged: {exc}; try again") from exc
    if not decoder.eof:
        raise FetchError(f"{name!r} ends in the middle; try again")

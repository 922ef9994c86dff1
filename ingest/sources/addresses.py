"""Which addresses may be connected to, and connections that go to just those.

A name is resolved once, all its addresses are checked, and the connection goes to one that was: a name server that
gives another address a moment later (DNS rebinding) gains nothing. Where a URL has an address in place of a name, in
whatever notation, it is the system's resolver that reads it, and what it reads that is checked.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore

from retrieval.errors import FetchError

_CONNECT_SECONDS = 10.0
"""For one address: the next may do better."""

Resolver = Callable[[str, int], Sequence[str]]
"""The addresses of a name; raises OSError when it has none."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_CREDENTIALS = tuple(
    map(
        ipaddress.ip_network,
        "169.254.0.0/16 168.63.129.16/32 192.0.0.192/32 100.100.100.200/32 "
        "fe80::/10 fd00:ec2::/32 fd20:ce::254/128".split(),
    )
)
"""Where clouds give credentials to their machines: never fetched from."""

_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "64:ff9b:1::/48", "fec0::/10", "5f00::/16", "3fff::/20"),
    )
)
"""Beyond what Python takes for private; it depends on its version."""

_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/96", "::ffff:0:0:0/96", "::/96")))
"""IPv6 addresses that end in the IPv4 address they stand for: RFC 6052, RFC 8215, RFC 2765, RFC 4291 2.5.5.1."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses that the system gives for `host`, a name or an address."""
    return list(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def refusal(address: str, *, allow_private: bool) -> str:
    """Why there must be no connection to `address`; empty when there may be one."""
    try:
        ip = _innermost(ipaddress.ip_address(address))
    except ValueError:
        return "no address"
    if any(ip in network for network in _CREDENTIALS):
        return "a link-local address, where clouds keep credentials"
    if ip.is_multicast or ip.is_unspecified:
        return "no address of one machine"
    if allow_private or (ip.is_global and not any(ip in network for network in _NOT_PUBLIC)):
        return ""
    return "a private address; if it is meant, set ingest.http_allow_private"


def _innermost(ip: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    while isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if any(ip in network for network in _TRANSLATED) and not (ip.is_loopback or ip.is_unspecified):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None:
            return ip
        ip = inner
    return ip


class GuardedBackend(httpcore.NetworkBackend):
    """Connects for one request to checked addresses, and ends all of it after `seconds`, however slowly it drips."""

    def __init__(self, *, allow_private: bool, seconds: float, resolver: Resolver) -> None:
        self._allow_private = allow_private
        self._deadline = time.monotonic() + seconds
        self._resolver = resolver
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the whole request has one
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises FetchError for a name with an address that is refused."""
        error: Exception = httpcore.ConnectError(f"{host!r} has no address")
        for address in self._checked(host, port):
            try:
                left = remaining(self._deadline, _CONNECT_SECONDS)
                stream = self._backend.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                error = exc
                continue
            return _Stream(stream, self._deadline)
        raise error

    def _checked(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolver(host, port)
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(f"the name {host!r} cannot be resolved: {exc}") from exc
        for address in addresses:
            if reason := refusal(address, allow_private=self._allow_private):
                raise FetchError(f"{host!r} is not fetched from: {address} is {reason}")
        return addresses


def remaining(deadline: float, timeout: float | None) -> float:
    """Seconds that an operation may take. Raises httpcore.ReadTimeout when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is up")
    return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation ends at the deadline at the latest."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, remaining(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, remaining(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = remaining(self._deadline, timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

"""Messages between this process and a worker: one socket, frames with a length, never a wait without an end.

A worker reads hostile files, so what it sends may be anything: a frame is bounded, and unpickling it makes nothing but
the records that outcomes consist of.
"""

import io
import pickle
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from retrieval.errors import FootnoteError

_HEADER = struct.Struct(">Q")
_STEP = 2**20
"""Bytes received at a time: memory is taken for what came, not for what was announced."""

RECORDS = frozenset({
    ("ingest.tasks", "Outcome"), ("ingest.tasks", "Prepared"), ("ingest.tasks", "Settled"), ("ingest.tasks", "Task"),
    ("retrieval.records", "Box"), ("retrieval.records", "Chunk"), ("retrieval.records", "Document"),
    ("retrieval.records", "Element"), ("retrieval.records", "SourceRecord"),
    ("pathlib", "PosixPath"), ("ingest.engines.channel", "Ready"), ("ingest.engines.channel", "OutOfMemory"),
    ("ingest.engines.channel", "MoreTime"),
})  # fmt: skip
"""What a worker's messages may be made of, beside Python's plain values."""


class Ready:
    """A worker's first word: all is imported."""


class OutOfMemory:
    """A worker's last word: the file needs more memory than it may take."""


class MoreTime:
    """A page is about to be recognised: the clock begins anew."""


class ChannelClosed(FootnoteError):
    """The other side has gone, or talks nonsense."""


class Silence(FootnoteError):
    """Nothing came until the deadline."""


def send(channel: socket.socket, message: Any, *, timeout: float | None = None) -> None:
    """Send a message. Raises ChannelClosed, and Silence when the other side does not take it within `timeout`."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    channel.settimeout(timeout)
    try:
        channel.sendall(_HEADER.pack(len(data)))
        channel.sendall(data)
    except TimeoutError as exc:
        raise Silence("a message is not taken") from exc
    except OSError as exc:
        raise ChannelClosed("the other side has gone") from exc


def receive_trusted(channel: socket.socket) -> Any:
    """The next message of the parent, however long it takes. Raises ChannelClosed when there is no parent any more."""
    channel.settimeout(None)
    return pickle.loads(_frame(channel, limit=2**40, deadline=None, look=_nothing))  # noqa: S301 - sent by our parent


def receive(channel: socket.socket, *, limit: int, deadline: float, look: Callable[[], None]) -> tuple[Any, int]:
    """The next message of a worker and its size in bytes; `look` is called now and then while waiting, and may raise.

    `deadline` is in the seconds of `time.monotonic`. Raises ChannelClosed for the end, for more than `limit` bytes
    and for what is no message; Silence.
    """
    data = _frame(channel, limit=limit, deadline=deadline, look=look)
    try:
        return _Unpickler(io.BytesIO(data)).load(), len(data)
    except Exception as exc:  # garbage raises anything at all
        raise ChannelClosed(f"no message: {type(exc).__name__}") from exc


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in RECORDS:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an outcome")
        return super().find_class(module, name)


def _nothing() -> None:
    """For a parent, which is not watched."""


def _frame(channel: socket.socket, *, limit: int, deadline: float | None, look: Callable[[], None]) -> bytearray:
    (size,) = _HEADER.unpack(_exactly(channel, _HEADER.size, deadline, look))
    if size > limit:
        raise ChannelClosed(f"a message of {size:,} bytes")
    return _exactly(channel, size, deadline, look)


def _exactly(channel: socket.socket, size: int, deadline: float | None, look: Callable[[], None]) -> bytearray:
    data = bytearray()
    while len(data) < size:
        if deadline is not None:
            look()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence("no message in time")
            channel.settimeout(min(left, LOOK_SECONDS))
        try:
            part = channel.recv(min(size - len(data), _STEP))
        except TimeoutError:
            continue
        except OSError as exc:
            raise ChannelClosed("the other side has gone") from exc
        if not part:
            raise ChannelClosed("the other side has gone")
        data += part
    return data


LOOK_SECONDS = 0.2
"""Between two looks at a worker that is busy."""

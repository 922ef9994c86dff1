"""Server-sent events from a synchronous iterator: one worker thread, heartbeats, and an end when the client goes.

The whole iteration runs in a single thread, because what it holds open (a snapshot, an HTTP stream) may belong to the
thread that opened it. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import log_problem, problem_of, problem_response

HEARTBEAT = b": still working\n\n"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name and what becomes the JSON of its data line."""

    name: str
    data: Any

    def encode(self) -> bytes:
        """The event as it goes over the wire."""
        text = json.dumps(self.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return f"event: {self.name}\ndata: {text}\n\n".encode()


class EventStream(Response, Generic[Item]):
    """Sends what `produce()` yields, each item made an event by `encode`.

    An error before the first event is an ordinary problem response with its status. A later one is an `error` event
    with the same body, and the stream ends. When the client disconnects, the iterator is closed at its next step.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        request: Request,
        produce: Callable[[], Iterator[Item]],
        *,
        encode: Callable[[Item], Event],
        heartbeat_seconds: float,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.instance = request.url.path
        self.request_id = request.state.request_id
        self.produce = produce
        self.encode = encode
        self.heartbeat_seconds = heartbeat_seconds
        self.abandoned = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request: runs until the last event, or until the client goes."""
        # Without a bound: an answer is small, and a client that reads slowly must not hold a worker thread.
        writer, reader = anyio.create_memory_object_stream[Event | Exception](math.inf)
        with writer, reader:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, self._pump, writer)
                tasks.start_soon(self._watch, receive, tasks.cancel_scope)
                try:
                    with suppress(OSError):  # some servers raise it from `send` when the client has gone
                        await self._forward(reader, scope, receive, send)
                finally:
                    self.abandoned.set()
                    tasks.cancel_scope.cancel()

    def _pump(self, writer: MemoryObjectSendStream[Event | Exception]) -> None:
        """In the worker thread: iterate, hand over, stop when nobody takes it any more."""
        items: Iterator[Item] | None = None
        try:
            items = self.produce()
            for item in items:
                if self.abandoned.is_set():
                    break
                anyio.from_thread.run_sync(writer.send_nowait, self.encode(item))
        except Exception as exc:
            anyio.from_thread.run_sync(writer.send_nowait, exc)
        finally:
            close = getattr(items, "close", None)  # generators have it, and it ends what they hold open
            if close is not None:
                close()
            anyio.from_thread.run_sync(writer.close)

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.abandoned.set()
        scope.cancel()

    async def _forward(
        self, reader: MemoryObjectReceiveStream[Event | Exception], scope: Scope, receive: Receive, send: Send
    ) -> None:
        started = False
        while True:
            item: Event | Exception | None = None
            with anyio.move_on_after(self.heartbeat_seconds):
                try:
                    item = await reader.receive()
                except anyio.EndOfStream:
                    break
            if isinstance(item, Exception):
                problem = problem_of(item)
                if problem.status >= 500:
                    log_problem(item, status=problem.status, request_id=self.request_id)
                if not started:
                    response = problem_response(problem, instance=self.instance, request_id=self.request_id)
                    await response(scope, receive, send)
                    return
                item = Event("error", problem.body(instance=self.instance, request_id=self.request_id))
            if not started:
                started = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            body = HEARTBEAT if item is None else item.encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

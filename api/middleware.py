"""What every request passes through: its id, the access log, the last catch, the body limit.

Plain ASGI, because streams go through here too and must not be buffered.
"""

import logging
import re
import time
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Problem, log_problem, problem_of, problem_response

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger("api.access")


class RequestContext:
    """Gives each request its id, answers what nobody caught with a 500, and writes one log line.

    The id is the caller's `x-request-id` when it is plain, else a new one; it goes back in the same header. The log
    line holds no query string, no body and no key.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as exc:
            log_problem(exc, status=500, request_id=request_id)
            if not status:
                response = problem_response(problem_of(exc), instance=scope["path"], request_id=request_id)
                await response(scope, receive, send_with_id)
        finally:
            _write_line(scope, status=status, seconds=time.perf_counter() - started)


class BodyLimit:
    """Refuses a body of more than `max_bytes` with 413: at once if it declares its size, else when it gets there."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        detail = f"the body is larger than {self.max_bytes} bytes, the most that this server takes"
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            problem = Problem("content-too-large", 413, detail, headers={"connection": "close"})
            await problem_response(problem, instance=scope["path"], request_id=scope["state"]["request_id"])(
                scope, receive, send
            )
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self.max_bytes:
                    raise HTTPException(413, detail, headers={"connection": "close"})
            return message

        await self.app(scope, receive_limited, send)


def _write_line(scope: Scope, *, status: int, seconds: float) -> None:
    client = scope.get("client") or ("-",)
    _log.info(
        "method=%s path=%s status=%d ms=%.1f client=%s request_id=%s",
        scope["method"],
        quote(scope["path"]),  # a decoded path may hold line breaks
        status,
        seconds * 1000,
        client[0],
        scope["state"]["request_id"],
    )

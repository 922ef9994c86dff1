"""Errors over HTTP: one table from error class to status, and the RFC 9457 problem body.

A problem of the caller's making (4xx) carries the error's own text. One of ours (5xx) carries a fixed text and the
request id; what happened stands in the log under that id, because error texts of the inside may name paths and hosts.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from retrieval import errors

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
STATUS: Mapping[type[errors.FootnoteError], int] = {
    errors.InvalidRequest: 422,
    errors.InvalidQuery: 422,
    errors.InvalidFilter: 422,
    errors.UnknownField: 422,
    errors.NotFound: 404,
    errors.CollectionNotFound: 404,
    errors.DocumentNotFound: 404,
    errors.Conflict: 409,
    errors.CollectionExists: 409,
    errors.EmbedderMismatch: 500,  # a model is missing on this machine; the text may name folders
    errors.WriterBusy: 409,
    errors.StoreUnavailable: 503,
    errors.EmbedderUnavailable: 503,
    errors.RerankerError: 502,
    errors.RerankerUnavailable: 503,
    errors.ChatModelError: 502,
    errors.ChatModelUnavailable: 503,
    errors.FootnoteError: 500,
}
"""The row of an error is that of the nearest of its bases that has one."""

_OURS = {
    500: "Something went wrong on our side; the server's log has it under this request id.",
    502: "A model that is needed for this failed; the server's log has the reason under this request id.",
    503: "A service that is needed for this cannot be reached now; try again in a few seconds.",
}
_log = logging.getLogger("api.errors")


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem before it is written: see RFC 9457 for the members."""

    kind: str
    """Last part of `type`, e.g. 'collection-not-found'."""
    status: int
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    """For a request that does not fit the schema: where (`at`) and what (`message`)."""
    headers: Mapping[str, str] | None = None

    def body(self, *, instance: str, request_id: str) -> dict[str, Any]:
        """The JSON object; `instance` is the path of the request."""
        body: dict[str, Any] = {
            "type": f"urn:footnote:problem:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id,
        }
        return body | ({"errors": list(self.errors)} if self.errors else {})


def problem_of(exc: Exception) -> Problem:
    """The problem that tells a caller about `exc`; for a 5xx the text of `exc` is logged, not told."""
    if isinstance(exc, errors.FootnoteError):
        status = next(STATUS[base] for base in type(exc).__mro__ if base in STATUS)
        if status < 500:
            return Problem(_kebab(type(exc).__name__), status, str(exc))
        kind = _kebab(type(exc).__name__) if status != 500 else "internal-error"
        headers = {"retry-after": RETRY_AFTER_SECONDS} if status == 503 else None
        return Problem(kind, status, _OURS[status], headers=headers)
    return Problem("internal-error", 500, _OURS[500])


def log_problem(exc: Exception, *, status: int, request_id: str) -> None:
    """Write down what a 5xx does not tell; with the traceback when nobody foresaw it."""
    traceback = None if isinstance(exc, errors.FootnoteError) else exc
    _log.error("request_id=%s status=%d %s: %s", request_id, status, type(exc).__name__, exc, exc_info=traceback)


def problem_response(problem: Problem, *, instance: str, request_id: str) -> JSONResponse:
    """The problem as a response."""
    body = problem.body(instance=instance, request_id=request_id)
    headers = dict(problem.headers or {}) | {"cache-control": "no-store"}
    return JSONResponse(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Make `app` answer every foreseen error with a problem; the rest is caught in `api.middleware`."""
    app.add_exception_handler(errors.FootnoteError, _on_footnote_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def validation_problem(found: Sequence[Any]) -> Problem:
    """The problem for what pydantic found; of values, numbers alone are echoed: others may be long, or secret."""
    listed = [_told(error) for error in found]
    detail = "; ".join(f"{error['at']}: {error['message']}" for error in listed[:3])
    more = f"; and {len(listed) - 3} more" if len(listed) > 3 else ""
    return Problem("invalid-request", 422, detail + more, errors=listed)


def _told(error: Any) -> Mapping[str, str]:
    if error.get("type") == "json_invalid":  # its place is a number, its reason is hidden in the context
        return {"at": "body", "message": f"not JSON: {error['ctx']['error']} at character {error['loc'][-1]}"}
    given = error.get("input")
    got = f", got {given!r:.40}" if isinstance(given, bool | int | float) else ""
    return {"at": ".".join(str(part) for part in error["loc"]), "message": error["msg"] + got}


async def _on_footnote_error(request: Request, exc: Exception) -> JSONResponse:
    problem = problem_of(exc)
    if problem.status >= 500:
        log_problem(exc, status=problem.status, request_id=request.state.request_id)
    return _respond(request, problem)


async def _on_validation_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - what it was registered for
    if request.method == "POST" and "json" not in request.headers.get("content-type", ""):
        # What `curl -d` does unasked; the schema errors that follow from it explain nothing.
        detail = "send the body as JSON, with the header 'Content-Type: application/json'"
        return _respond(request, Problem("unsupported-media-type", 415, detail))
    return _respond(request, validation_problem(exc.errors()))


async def _on_http_exception(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)  # noqa: S101 - what it was registered for
    if exc.status_code == 400:  # FastAPI's word for a body that no parser can read
        return _respond(request, Problem("invalid-request", 422, "the body cannot be read as JSON in UTF-8"))
    phrase = HTTPStatus(exc.status_code).phrase
    detail = exc.detail if exc.detail != phrase else f"{phrase}: {request.method} {request.url.path}"
    return _respond(request, Problem(_kebab(phrase), exc.status_code, detail, headers=exc.headers))


def _respond(request: Request, problem: Problem) -> JSONResponse:
    return problem_response(problem, instance=request.url.path, request_id=request.state.request_id)


def _kebab(name: str) -> str:
    """'CollectionNotFound' and 'Method Not Allowed' to 'collection-not-found' and 'method-not-allowed'."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]+", "-", name).lower()

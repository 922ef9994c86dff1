"""API keys: who may call what. Everything needs one, but for the probes and the page."""

import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Sequence

from fastapi.security import HTTPBearer
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import Problem, problem_response
from api.settings import ApiSettings

bearer = HTTPBearer(auto_error=False, description="One of the server's `api_keys`.")
"""Declares the scheme in the OpenAPI document; `RequireKey` does the checking."""

_OPEN_PATHS = ("/", "/healthz", "/readyz", "/openapi.json")
"""Load balancers have no key; the page asks for one itself."""
_log = logging.getLogger("api.auth")


class RequireKey:
    """Lets a request pass only with a known key, before a byte of its body is read."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[SecretStr]) -> None:
        self.app = app
        self.digests = [_digest(key.get_secret_value().encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not (_is_open(scope["path"]) or self._is_known(Headers(scope=scope))):
            detail = "this needs a key: send the header 'Authorization: Bearer KEY' with one of the server's api_keys"
            problem = Problem("unauthorized", 401, detail, headers={"www-authenticate": "Bearer"})
            response = problem_response(problem, instance=scope["path"], request_id=scope["state"]["request_id"])
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip().encode("latin-1"))  # the bytes that came: Starlette decodes headers so
        # Every digest is compared, each in constant time: the time taken tells nothing about the keys.
        matches = [hmac.compare_digest(given, digest) for digest in self.digests]
        return scheme.lower() == "bearer" and any(matches)


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith("/static/")


def warn_if_open(settings: ApiSettings) -> None:
    """Log a warning when the service can be reached from elsewhere and asks for no key."""
    if not settings.api_keys and not _is_loopback(settings.host):
        _log.warning(
            "listening on %r without api_keys: whoever reaches this address can read every document; "
            "set [api] api_keys or FOOTNOTE_API__API_KEYS, or listen on 127.0.0.1",
            settings.host,
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name that may point anywhere


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()

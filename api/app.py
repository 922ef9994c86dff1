"""The application: middleware, error handlers and routes around the services that it is given."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import Depends, FastAPI

from api import openapi
from api.auth import RequireKey, bearer, warn_if_open
from api.errors import add_handlers
from api.middleware import BodyLimit, RequestContext
from api.routes import answer, collections, documents, health, page, search
from api.services import Services
from api.settings import ApiSettings

_DESCRIPTION = """Searches collections of documents and answers questions about them. Every sentence of an answer
carries citations that were verified: document, version, characters, page, verbatim quote.

Offsets count Unicode code points of the document's text. Errors are RFC 9457 problems. Streams are server-sent
events."""


def create_app(services: Services, settings: ApiSettings | None = None) -> FastAPI:
    """The ASGI application. It closes `services` when it shuts down."""
    settings = settings or ApiSettings()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warn_if_open(settings)
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
        yield
        await anyio.to_thread.run_sync(services.close)

    app = FastAPI(
        title="Footnote",
        version="1",
        summary="Answers with footnotes that a machine can verify.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from a CDN
        redoc_url=None,
        # FastAPI can export traces, metrics and logs by itself; promise 6: nothing leaves unasked.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.services = services
    app.state.settings = settings
    app.openapi = lambda: _cached(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    add_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    if settings.api_keys:
        app.add_middleware(RequireKey, keys=settings.api_keys)
    app.add_middleware(RequestContext)
    described = [Depends(bearer)] if settings.api_keys else []
    for router in (search.router, answer.router, collections.router, documents.router):
        app.include_router(router, dependencies=described)
    app.include_router(health.router)
    app.include_router(page.router)
    return app


def _cached(app: FastAPI) -> dict[str, object]:
    if app.openapi_schema is None:
        app.openapi_schema = openapi.describe(app)
    return app.openapi_schema

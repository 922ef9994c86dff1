"""Runs the application under uvicorn; what `footnote serve` calls."""

import logging
import sys

import uvicorn

from api.app import create_app
from api.services import Services
from api.settings import ApiSettings

GRACE_SECONDS = 10


def serve(services: Services, settings: ApiSettings) -> None:
    """Listen until SIGINT or SIGTERM; requests in flight get `GRACE_SECONDS`. Logs go to stderr, one line each."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # httpx writes a line with the whole URL for each call to a chat model: noise here.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvicorn.run(
        create_app(services, settings),
        host=settings.host,
        port=settings.port,
        access_log=False,  # api.middleware writes one, without query strings
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )

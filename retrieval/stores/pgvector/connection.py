"""Connections to one server: opened when they are needed, kept while they are good, never more than allowed.

A pool of our own rather than psycopg_pool's: that one connects in background threads, answers a wrong password or a
stopped server with a timeout that does not say why, and goes on trying with warnings in the log. Here the caller's
thread connects, and gets the reason at once.

What reads and what commits makes every setting within the transaction that needs it, relies on nothing that an earlier
one left in its session, and prepares statements through the protocol: there PgBouncer may stand in between in
transaction mode, from version 1.22 on with `max_prepared_statements` above 0. `upkeep` needs a session.
"""

import logging
import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, conninfo
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.types import TypeInfo

from retrieval.errors import ConfigError, StoreUnavailable
from retrieval.stores.pgvector import arrays
from retrieval.stores.pgvector.errors import refused, translated

# Besides raising what we translate, psycopg warns of lost connections: in the middle of what a command prints.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_ANSWER_SLACK = 2.0
"""Seconds that the server has to say by itself that its time is up, before we hang up."""
_WRITING_PATIENCE = 30
"""A statement that writes may take this many times as long as one that reads: a large batch enters an index."""

_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
# What is acknowledged survives a crash of the server, even of one that was told not to care. The queries are short:
# compiling them costs more than it gains.
_SETTINGS = b"""
SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
       set_config('idle_in_transaction_session_timeout', '0', true), set_config('jit', 'off', true),
       CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END
"""

Row = tuple[Any, ...]
Statement = tuple[bytes, Sequence[object]]
"""A query and what is bound to it."""
_T = TypeVar("_T")


class LimitedConnection(Connection[Row]):
    """Hangs up on a server that does not answer at all, such as a frozen one."""

    answer_timeout: float | None = None
    """Seconds; None waits for ever."""
    knows_vectors = False

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """As psycopg has it, with `answer_timeout` for every wait that has no timeout of its own."""
        return super().wait(gen, interval, self.answer_timeout if timeout is None else timeout)


class Database:
    """One database, as the settings name it. Thread-safe."""

    def __init__(self, url: str, *, password_file: Path | None, schema: str, connections: int, timeout: float) -> None:
        self.schema = schema
        self.timeout = timeout
        self.vector: TypeInfo | None = None
        """How the server knows pgvector's type, once somebody has looked."""
        self._parts = _parse(url, timeout)
        self._password_file = password_file
        self.place = _place(self._parts)
        self._connections = connections
        self._free = threading.Semaphore(connections)
        self._idle: deque[LimitedConnection] = deque()
        self._closed = False

    @contextmanager
    def reading(self, *first: Statement) -> Iterator[tuple[Connection[Row], list[Row | None]]]:
        """A view of one commit, with the first row of each of the `first` statements: all that in one round trip."""
        with self._taken(_BEGIN_READING, self.timeout, first) as (connection, rows):
            yield connection, rows
            # Nothing hangs on how a view ends: if this fails, the connection is thrown away.
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[Connection[Row]]:
        """All or nothing; durable when it is left."""
        with self._taken(_BEGIN_WRITING, self.timeout * _WRITING_PATIENCE, ()) as (connection, _):
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def working(self) -> Iterator[LimitedConnection]:
        """A connection besides those of the pool and in no transaction, for what makes its own or none."""
        with self.translated(), self._connect() as connection:
            connection.answer_timeout = self.timeout * _WRITING_PATIENCE
            yield connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Within this, psycopg's errors are ours."""
        with translated(self.place, schema=self.schema):
            yield

    def close(self) -> None:
        """Hang up what is idle at once, and what is in use when it comes back."""
        self._closed = True
        self._hang_up()

    @contextmanager
    def _taken(
        self, begin: str, answer_timeout: float, first: Sequence[Statement]
    ) -> Iterator[tuple[LimitedConnection, list[Row | None]]]:
        if self._closed:
            raise StoreUnavailable(f"{self.place}: the connections were closed; open the collections again")
        if not self._free.acquire(timeout=self.timeout):
            raise StoreUnavailable(
                f"{self.place}: all {self._connections} connections of this process have been in use for "
                f"{self.timeout:g} s; raise retrieval.postgres_connections, or ask less at a time"
            )
        try:
            with self.translated():
                connection, rows = self._begun(begin, answer_timeout, first)
                try:
                    yield connection, rows
                except psycopg.errors.ReadOnlySqlTransaction:
                    # The address may lead to another server by now: connections to a former primary stay with it.
                    connection.close()
                    self._hang_up()
                    raise
                finally:
                    self._put_back(connection)
        finally:
            self._free.release()

    def _begun(
        self, begin: str, answer_timeout: float, first: Sequence[Statement]
    ) -> tuple[LimitedConnection, list[Row | None]]:
        try:
            connection, fresh = self._idle.pop(), False
        except IndexError:
            connection, fresh = self._connect(), True
        try:
            return connection, self._begin(connection, begin, answer_timeout, first)
        except psycopg.OperationalError:
            lost = connection.closed
            self._put_back(connection)
            if fresh or not lost:
                raise
        except BaseException:
            self._put_back(connection)
            raise
        # The server was restarted since, so that the other idle connections are dead as well.
        self._hang_up()
        connection = self._connect()
        try:
            return connection, self._begin(connection, begin, answer_timeout, first)
        except BaseException:
            self._put_back(connection)
            raise

    def _begin(
        self, connection: LimitedConnection, begin: str, answer_timeout: float, first: Sequence[Statement]
    ) -> list[Row | None]:
        if self.vector and not connection.knows_vectors:
            arrays.register(connection, self.vector)
            connection.knows_vectors = True
        connection.answer_timeout = self.timeout + _ANSWER_SLACK
        with connection.pipeline():
            connection.execute(begin)
            # Who reads waits for no lock but in a migration, and then has the statement's time.
            lock_timeout = 0.0 if begin == _BEGIN_READING else self.timeout
            connection.execute(_SETTINGS, (f"{answer_timeout * 1000:.0f}", f"{lock_timeout * 1000:.0f}"))
            cursors = [connection.execute(query, bound) for query, bound in first]
        connection.answer_timeout = answer_timeout + _ANSWER_SLACK
        return [cursor.fetchone() for cursor in cursors]

    def _put_back(self, connection: LimitedConnection) -> None:
        """Keep a connection that is good for more; a transaction that was left in the middle is undone."""
        if not connection.closed and connection.info.transaction_status in (
            TransactionStatus.INTRANS, TransactionStatus.INERROR,
        ):  # fmt: skip
            connection.answer_timeout = self.timeout + _ANSWER_SLACK
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        if self._closed or connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def _hang_up(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _connect(self) -> LimitedConnection:
        parts = dict(self._parts)
        if self._password_file:
            parts["password"] = _read_password(self._password_file)
        try:
            return LimitedConnection.connect(**parts, autocommit=True)
        except psycopg.Error as exc:
            raise refused(exc, self.place, password=str(parts.get("password") or "")) from exc


def _parse(url: str, timeout: float) -> dict[str, Any]:
    """The parameters that libpq takes. Nothing of a URL that cannot be read goes into a message: it may be a secret."""
    if not url.strip():
        raise ConfigError(
            "retrieval.postgres_url is empty; set it to postgresql://user@host:5432/database for the pgvector store"
        )
    advice = (
        "write postgresql://user@host:5432/database?sslmode=verify-full, with signs such as @ : / of a password "
        "percent-encoded, or put the password into retrieval.postgres_password_file"
    )
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Without the cause: it quotes the URL.
        raise ConfigError(f"retrieval.postgres_url cannot be read; {advice}") from None
    ports = str(parts.get("port") or "5432").split(",")
    # A password with signs that are not encoded ends up in these, which messages name.
    torn = any("@" in str(parts.get(part) or "") for part in ("host", "dbname"))
    if torn or not all(port.isdigit() for port in ports):
        raise ConfigError(f"retrieval.postgres_url names no host, port and database that can be read; {advice}")
    patience = {
        "application_name": "footnote",
        "connect_timeout": math.ceil(timeout),
        "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
        "tcp_user_timeout": math.ceil(timeout * 1000),
    }  # fmt: skip
    # Whatever PGCLIENTENCODING or the role say: the other encodings cannot say all that documents hold.
    return {**patience, **parts, "client_encoding": "UTF8"}


def _place(parts: dict[str, Any]) -> str:
    host, port = parts.get("host") or parts.get("hostaddr") or "localhost", parts.get("port") or 5432
    user = f", user {parts['user']!r}" if parts.get("user") else ""
    return f"PostgreSQL at {host}:{port}, database {parts.get('dbname') or parts.get('user') or ''!r}{user}"


def _read_password(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"retrieval.postgres_password_file {str(path)!r} cannot be read: {reason}") from exc

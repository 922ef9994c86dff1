"""Psycopg's errors as ours, in one place. No message holds a URL or a password."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from retrieval.errors import ConfigError, FootnoteError, StoreCorrupt, StoreUnavailable, WriterBusy

# What libpq says when no connection comes about: it has no codes, and the server's part may be in another language.
_REFUSALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("password authentication failed", "no password supplied", "authentication failed"),
        "the user or the password is wrong; set them in retrieval.postgres_url or retrieval.postgres_password_file",
    ),
    (
        (
            "certificate",
            "ssl error",
            "sslmode",
            "does not support ssl",
            "ssl connection",
            "channel binding",
            "root.crt",
        ),
        "no trusted TLS connection comes about; check sslmode and sslrootcert in retrieval.postgres_url",
    ),
    (
        ("no pg_hba.conf entry", "pg_hba.conf rejects"),
        "the server lets nobody in this way (pg_hba.conf); check user, database and sslmode in retrieval.postgres_url",
    ),
    (("resolve host", "translate host name"), "the host is not known; check it in retrieval.postgres_url"),
)
_TRANSIENT = (
    "starting up", "shutting down", "too many clients", "remaining connection slots", "too many connections",
    "recovery mode",
)  # fmt: skip


@contextmanager
def translated(place: str, *, schema: str) -> Iterator[None]:
    """Turn psycopg's errors into ours. `place` says which server in a message, e.g. "PostgreSQL at db:5432, ..."."""
    try:
        yield
    except psycopg.Error as exc:
        raise _translation(exc, place, schema) from exc


def refused(exc: psycopg.Error, place: str, *, password: str) -> FootnoteError:
    """Our error for a connection that did not come about."""
    said = " ".join(str(exc).split())
    lowered = said.lower()
    for signs, advice in _REFUSALS:
        if any(sign in lowered for sign in signs):
            return ConfigError(f"{place}: {advice}")
    if "database" in lowered and "does not exist" in lowered:
        return ConfigError(f"{place}: there is no such database; create it, or name another in retrieval.postgres_url")
    if "role" in lowered and "does not exist" in lowered:
        return ConfigError(f"{place}: there is no such user; check it in retrieval.postgres_url")
    if isinstance(exc, psycopg.ProgrammingError):
        return ConfigError(f"{place}: retrieval.postgres_url has an option that libpq does not take")
    if any(sign in lowered for sign in _TRANSIENT):
        return StoreUnavailable(f"{place} takes no connection now: {_without(said, password)}; try again")
    return StoreUnavailable(
        f"{place} cannot be reached: {_without(said, password)}; check that it runs and that retrieval.postgres_url "
        "names it rightly"
    )


def _without(said: str, password: str) -> str:
    return (said.replace(password, "***") if password else said)[:300]


def _translation(exc: psycopg.Error, place: str, schema: str) -> FootnoteError:  # noqa: PLR0911 - a table of cases
    what = " ".join((exc.diag.message_primary or type(exc).__name__).split())
    match exc:
        case errors.LockNotAvailable() | errors.DeadlockDetected():
            return WriterBusy(
                f"{place}: another process keeps its turn for too long ({what}); try again, or raise "
                "retrieval.postgres_timeout"
            )
        case errors.QueryCanceled():
            return StoreUnavailable(
                f"{place} did not answer in time ({what}); try again, or raise retrieval.postgres_timeout"
            )
        case errors.DiskFull():
            return StoreUnavailable(f"{place} has no disk space left ({what}); make room, then try again")
        case errors.InsufficientPrivilege():
            return ConfigError(
                f"{place}: {what}; grant the user of retrieval.postgres_url what it needs in this database and its "
                f"schema {schema!r} (see docs/stores.md), or name another user"
            )
        case errors.ReadOnlySqlTransaction():
            return ConfigError(
                f"{place} takes no writes ({what}), it may be a replica; name the primary in retrieval.postgres_url"
            )
        case errors.UndefinedTable() | errors.UndefinedColumn() | errors.InvalidSchemaName():
            return StoreCorrupt(
                f"{place}: {what}; schema {schema!r} is not as Footnote made it: restore it from a backup, or set "
                "retrieval.postgres_schema to another name"
            )
        case errors.DuplicateTable() | errors.DuplicateObject() | errors.DuplicateSchema() | errors.WrongObjectType():
            return StoreCorrupt(
                f"{place}: {what}, and Footnote did not make it; set retrieval.postgres_schema to another name"
            )
        case errors.DataCorrupted() | errors.IndexCorrupted():
            return StoreCorrupt(f"{place}: {what}; restore the database from a backup")
        case errors.ProgramLimitExceeded():
            return ConfigError(f"{place}: {what}; choose an embedder or documents within this limit")
        case _:
            # Lost connections, timeouts of ours, the server's own shutdown, memory, locks: these pass.
            return StoreUnavailable(f"{place} cannot be used now: {_reason(exc, what)}; try again")


def _reason(exc: psycopg.Error, what: str) -> str:
    if isinstance(exc, errors._WaitTimeout):
        return "it does not answer within retrieval.postgres_timeout"
    return what if exc.diag.message_primary else " ".join(str(exc).split())[:300] or what

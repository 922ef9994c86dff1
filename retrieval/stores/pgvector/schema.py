"""Is the database fit for Footnote, and in which version are its tables? Makes and upgrades them; tables of an edition.

Tables that all collections share come by `migrations`. An edition has tables of its own, named by its key, so that its
vectors have one length and an index, and so that dropping it is cheap:

    chunk_<key>     what a search result shows of a chunk
    vector_<key>    its full-precision vector, apart and never out of line: an exact search reads nothing else. Where
                    the edition keeps token vectors, they are a column here, out of line
    indexed_<key>   which documents, as they stand, are indexed in the edition, and by which keys: a document's chunks
                    have `chunks` keys from `first_key` on
    segment_<key>, posting_<key>, tombstone_<key>   see `lexical`
"""

import functools
import threading
import zlib
from dataclasses import dataclass

import psycopg
from psycopg import Connection, sql
from psycopg.types import TypeInfo

from retrieval.errors import ConfigError, StoreTooNew, StoreUnavailable
from retrieval.stores.pgvector import lexical
from retrieval.stores.pgvector.connection import Database, Row
from retrieval.stores.pgvector.migrations import MIGRATIONS

_POSTGRES = 150_000
_PGVECTOR = (0, 8)
_LOCK = 0x466F6F746E6F7465
"""Advisory lock of whoever changes the schema; one number for all schemas, since they share the extension."""
_MOST_DIMENSIONS = 16_000
_PLAIN_DIMENSIONS = 2_000
"""Vectors up to this length fit into a page with the rest of their row."""

_LOOK = b"""
SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), e.extversion, n.nspname,
       t.oid::int8, t.typarray::int8,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = %s),
       (SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_class c
        JOIN pg_namespace s ON s.oid = c.relnamespace
        WHERE s.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))
FROM (SELECT) AS always
LEFT JOIN pg_extension e ON e.extname = 'vector'
LEFT JOIN pg_namespace n ON n.oid = e.extnamespace
LEFT JOIN pg_type t ON t.typnamespace = e.extnamespace AND t.typname = 'vector'
"""


_LONG = 2_000
"""Characters of a statement that is not worth remembering: a filter of somebody's makes it so long."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is in the database."""

    postgres: int
    encoding: str
    extension: str | None
    extension_schema: str | None
    type_oid: int | None
    array_oid: int | None
    has_schema: bool
    tables: tuple[str, ...]
    version: int
    """0 when the tables are not there."""


class Schema:
    """Looks once in the life of a process, and again as long as there is nothing."""

    def __init__(self, database: Database) -> None:
        self.name = database.schema
        # The first of the two numbers of an advisory lock on an edition of this schema; the second is its key. Whoever
        # reads the edition shares the lock, whoever removes its tables holds it alone.
        self.lock_space = zlib.crc32(f"footnote edition {self.name}".encode()) - 2**31
        self._database = database
        self._ready = False
        self._lock = threading.Lock()

    def ready(self, *, create: bool = False) -> bool:
        """Whether the tables are there, in the version that this Footnote knows; with `create`, they are afterwards.

        Reading never makes anything. Tables of an earlier version are brought up to date by whoever comes first and
        may. Raises ConfigError, StoreTooNew, StoreCorrupt, StoreUnavailable.
        """
        if self._ready:
            return True
        # Many threads that find the server away shall not wait for it one after the other.
        if not self._lock.acquire(timeout=self._database.timeout):
            raise StoreUnavailable(
                f"{self._database.place}: another thread is still looking whether schema {self.name!r} is there; "
                "try again, or raise retrieval.postgres_timeout"
            )
        try:
            if not self._ready:
                with self._database.working() as connection:
                    found = self._look(connection)
                if found.version < len(MIGRATIONS) and (create or found.version):
                    found = self._migrate()
                if found.version == len(MIGRATIONS):
                    assert found.extension_schema  # noqa: S101 - `_check`
                    self._database.vector = TypeInfo("vector", found.type_oid or 0, found.array_oid or 0)
                    self.extension = found.extension_schema
                    self._ready = True  # the last of all: other threads look at it without the lock
            return self._ready
        finally:
            self._lock.release()

    def versions(self) -> str:
        """Of the server, of pgvector and of the tables, in words."""
        with self._database.working() as connection:
            found = self._look(connection)
        extension = f"pgvector {found.extension}" if found.extension else "no pgvector"
        tables = f"version {found.version}" if found.version else "not made yet"
        server = f"server {found.postgres // 10_000}.{found.postgres % 10_000}"
        return f"{server}, {extension}, schema {self.name!r} {tables}"

    def statement(self, template: str, edition_key: int = 0) -> bytes:
        """`template` with the names of tables, an edition's own among them, and of the extension's schema."""
        make = _statement if len(template) < _LONG else _statement.__wrapped__
        return make(template, self.name, self.extension, edition_key)

    def check_version(self, version: int) -> None:
        """Raise StoreTooNew when another process has upgraded the tables since we looked."""
        if version > len(MIGRATIONS):
            raise StoreTooNew(
                f"{self._database.place}: schema {self.name!r} has version {version}, this Footnote knows up to "
                f"{len(MIGRATIONS)}: upgrade Footnote"
            )

    def _look(self, connection: Connection[Row]) -> _Found:
        row = connection.execute(_LOOK, (self.name, self.name)).fetchone()
        assert row  # noqa: S101 - it selects one row whatever there is
        tables, version = tuple(row[7] or ()), 0
        if "footnote_migration" in tables:
            query = sql.SQL("SELECT max(version) FROM {}").format(sql.Identifier(self.name, "footnote_migration"))
            (version,) = connection.execute(query).fetchone() or (0,)
        found = _Found(row[0], row[1], row[2], row[3], row[4], row[5], row[6], tables, version or 0)
        self._check(found)
        return found

    def _check(self, found: _Found) -> None:
        place = self._database.place
        if found.postgres < _POSTGRES:
            raise ConfigError(f"{place} is version {found.postgres // 10_000}; Footnote needs PostgreSQL 15 or newer")
        if found.encoding != "UTF8":
            raise ConfigError(
                f"{place} has the encoding {found.encoding}; create a database with ENCODING 'UTF8' and name it in "
                "retrieval.postgres_url"
            )
        if found.extension and tuple(int(part) for part in found.extension.split(".")[:2]) < _PGVECTOR:
            raise ConfigError(
                f"{place} has pgvector {found.extension}, Footnote needs 0.8 or newer: let an administrator install "
                "it and run ALTER EXTENSION vector UPDATE"
            )
        self.check_version(found.version)
        if found.tables and not found.version:
            raise ConfigError(
                f"{place}: schema {self.name!r} holds tables that are not Footnote's "
                f"({', '.join(found.tables[:5])}); set retrieval.postgres_schema to another name"
            )
        if found.version and not found.extension:
            raise self._no_extension()

    def _migrate(self) -> _Found:
        schema = sql.Identifier(self.name)
        with self._database.writing() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            found = self._look(connection)  # another process may have done it while we waited
            if not found.extension:
                self._create_extension(connection)
            if not found.has_schema:
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            for number, migration in enumerate(MIGRATIONS[found.version :], start=found.version + 1):
                if number == 1:
                    connection.execute(
                        sql.SQL(
                            "CREATE TABLE {}.footnote_migration (version integer PRIMARY KEY, "
                            "applied_at timestamptz NOT NULL DEFAULT now())"
                        ).format(schema)
                    )
                connection.execute(sql.SQL(migration).format(schema=schema))
                connection.execute(
                    sql.SQL("INSERT INTO {}.footnote_migration (version) VALUES (%s)").format(schema), (number,)
                )
            return self._look(connection)

    def _create_extension(self, connection: Connection[Row]) -> None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except (
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.FeatureNotSupported,  # its files are not there
            psycopg.errors.UndefinedFile,
        ) as exc:
            raise self._no_extension() from exc

    def _no_extension(self) -> ConfigError:
        return ConfigError(
            f"{self._database.place} has no pgvector: let an administrator install it on the server if need be, and "
            "run CREATE EXTENSION vector in this database"
        )


def create_edition(
    connection: Connection[Row], schema: Schema, edition_key: int, dimension: int, *, token_vectors: bool
) -> None:
    """Make the tables of an edition, empty. Raises ConfigError for more dimensions than pgvector takes."""
    if dimension > _MOST_DIMENSIONS:
        raise ConfigError(
            f"pgvector holds vectors of at most {_MOST_DIMENSIONS} dimensions, the embedder makes {dimension}; choose "
            "another in retrieval.model"
        )
    storage = "PLAIN" if dimension <= _PLAIN_DIMENSIONS else "EXTERNAL"
    for template in (
        """CREATE TABLE {chunk} (
               chunk_key bigint NOT NULL, doc_key bigint NOT NULL, chunk_id text COLLATE "C" NOT NULL UNIQUE,
               ordinal integer NOT NULL, start_at integer NOT NULL, end_at integer NOT NULL, page integer,
               headings text NOT NULL, context text NOT NULL, text text NOT NULL,
               PRIMARY KEY (chunk_key) INCLUDE (chunk_id))""",  # ids of results come without reading their texts
        "CREATE INDEX ON {chunk} (doc_key)",
        f"CREATE TABLE {{vector}} (chunk_key bigint PRIMARY KEY, doc_key bigint NOT NULL, "
        f"embedding {{pgvector}}.vector({dimension:d}) NOT NULL)",
        f"ALTER TABLE {{vector}} ALTER embedding SET STORAGE {storage}",
        "CREATE TABLE {indexed} (doc_key bigint PRIMARY KEY, first_key bigint NOT NULL, chunks bigint NOT NULL)",
    ):
        connection.execute(schema.statement(template, edition_key))
    if token_vectors:
        for change in ("ADD token_vectors bytea", "ALTER token_vectors SET STORAGE EXTERNAL"):  # packed already
            connection.execute(schema.statement(f"ALTER TABLE {{vector}} {change}", edition_key))
    lexical.create(connection, schema.name, edition_key)


def drop_edition(connection: Connection[Row], schema: Schema, edition_key: int) -> None:
    """Remove the tables of an edition."""
    connection.execute(schema.statement("DROP TABLE IF EXISTS {chunk}, {vector}, {indexed}", edition_key))
    lexical.drop(connection, schema.name, edition_key)


@functools.lru_cache(maxsize=4096)
def _statement(template: str, schema: str, extension: str, edition_key: int) -> bytes:
    shared = ("collection", "edition", "dropped", "document", "content", "field", "source", "footnote_migration")
    own = ("chunk", "vector", "indexed", "segment", "posting", "tombstone")
    names = {name: sql.Identifier(schema, name) for name in shared}
    names |= {name: sql.Identifier(schema, f"{name}_{edition_key}") for name in own}
    names["pgvector"] = sql.Identifier(extension)
    ann = f"vector_{edition_key}_hnsw"
    names |= {"ann": sql.Identifier(schema, ann), "ann_name": sql.Identifier(ann)}
    # For to_regclass, which is NULL when there is no such thing.
    literals = {f"{name}_literal": sql.Literal(names[name].as_string(None)) for name in ("ann", "vector")}
    return sql.SQL(template).format(**names, **literals).as_bytes(None)

"""The tables of a catalog, how an empty one is made, and SQLite's errors as ours."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from retrieval.errors import StoreCorrupt, StoreUnavailable
from retrieval.records import Chunking, EmbedderInfo
from retrieval.stores.checks import check_text

SCHEMA_VERSION = 4
MIGRATE_SECONDS = 30.0
"""How long a migration waits for a writer."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE document (
    doc_key INTEGER PRIMARY KEY AUTOINCREMENT,
    doc_id TEXT NOT NULL UNIQUE, version TEXT NOT NULL, source_uri TEXT NOT NULL, title TEXT NOT NULL,
    media_type TEXT NOT NULL, characters INTEGER NOT NULL, page_starts TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE content (doc_key INTEGER PRIMARY KEY, text TEXT NOT NULL, elements TEXT NOT NULL);
CREATE TABLE attribute (
    name TEXT NOT NULL, type TEXT NOT NULL, value NOT NULL, doc_key INTEGER NOT NULL,
    PRIMARY KEY (name, type, value, doc_key)) WITHOUT ROWID;
CREATE INDEX attribute_document ON attribute (doc_key);
CREATE TABLE edition (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    embedder TEXT NOT NULL, chunking TEXT NOT NULL, created_at TEXT NOT NULL,
    documents INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0, token_code TEXT NOT NULL DEFAULT '');
CREATE TABLE dropped (edition INTEGER PRIMARY KEY);
CREATE TABLE indexed (edition INTEGER NOT NULL, doc_key INTEGER NOT NULL, PRIMARY KEY (edition, doc_key)) WITHOUT ROWID;
CREATE INDEX indexed_document ON indexed (doc_key);
CREATE TABLE chunk (
    chunk_key INTEGER PRIMARY KEY AUTOINCREMENT,
    edition INTEGER NOT NULL, doc_key INTEGER NOT NULL, chunk_id TEXT NOT NULL, ordinal INTEGER NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL, page INTEGER, headings TEXT NOT NULL,
    context TEXT NOT NULL, UNIQUE (chunk_id, edition));
CREATE INDEX chunk_document ON chunk (doc_key, edition);
CREATE INDEX chunk_edition ON chunk (edition);
CREATE TABLE vector (chunk_key INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE token_vector (chunk_key INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE tombstone (
    edition INTEGER NOT NULL, chunk_key INTEGER NOT NULL, died INTEGER NOT NULL,
    PRIMARY KEY (edition, chunk_key)) WITHOUT ROWID;
CREATE TABLE segment (
    name TEXT PRIMARY KEY, edition INTEGER NOT NULL, first_key INTEGER NOT NULL, last_key INTEGER NOT NULL,
    chunks INTEGER NOT NULL);
CREATE TABLE source (
    source_uri TEXT PRIMARY KEY, status TEXT NOT NULL, doc_id TEXT NOT NULL, content_hash TEXT NOT NULL,
    fingerprint TEXT NOT NULL, size INTEGER NOT NULL, media_type TEXT NOT NULL, chunks INTEGER NOT NULL,
    error TEXT NOT NULL, recorded_at TEXT NOT NULL, reason TEXT NOT NULL, validator TEXT NOT NULL,
    parent TEXT NOT NULL, version TEXT NOT NULL, pages INTEGER NOT NULL, attempts INTEGER NOT NULL,
    seconds TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX source_document ON source (doc_id);
"""

_MIGRATIONS = {
    3: (
        "ALTER TABLE edition ADD COLUMN token_code TEXT NOT NULL DEFAULT ''",
        "CREATE TABLE token_vector (chunk_key INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    )
}
"""What makes the next version of a catalog of each version."""


def create(
    path: Path, *, name: str, embedder: EmbedderInfo, chunking: Chunking, language: str, token_code: str
) -> None:
    """Make the catalog of a collection with one empty edition at `path`, which must not exist."""
    with translated(path), closing(sqlite3.connect(path)) as connection:
        # Bytes. At SQLite's own 4,096, a vector of 384 dimensions leaves a quarter of its page empty, one of 768 too.
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
        values = {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "language": language,
            "created_at": now(),
            "sequence": 0,
            "documents": 0,
            "live": insert_edition(connection, embedder, chunking, token_code),
        }
        connection.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
        connection.commit()


def version_of(connection: sqlite3.Connection) -> int | None:
    """Of the schema of a catalog; None when it is no catalog."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
    return int(row[0]) if row else None


def migrate(path: Path) -> None:
    """Bring a catalog of an earlier version to this one, as far as there is a way; another process may be at it, too.

    All or nothing, and no table is written anew. Whoever reads meanwhile goes on with what it sees.
    """
    with translated(path), closing(sqlite3.connect(path, isolation_level=None, timeout=MIGRATE_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        version = version_of(connection)
        while version in _MIGRATIONS:
            for statement in _MIGRATIONS[version]:
                connection.execute(statement)
            version += 1
            connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (version,))
        connection.execute("COMMIT")


def insert_edition(connection: sqlite3.Connection, embedder: EmbedderInfo, chunking: Chunking, token_code: str) -> int:
    """Write the row of an edition that has nothing indexed; returns its number."""
    cursor = connection.execute(
        "INSERT INTO edition (embedder, chunking, created_at, token_code) VALUES (?, ?, ?, ?)",
        (json.dumps(asdict(embedder)), json.dumps(asdict(chunking)), now(), token_code),
    )
    return int(cursor.lastrowid or 0)


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, naming the file."""
    try:
        yield
    except UnicodeEncodeError as exc:
        check_text(str(exc.object))  # what SQLite cannot keep; any other is not from here
        raise
    except sqlite3.OperationalError as exc:
        if "no such table" in str(exc) or "no such column" in str(exc):
            raise StoreCorrupt(f"{path} is not a catalog of Footnote: {exc}") from exc
        raise StoreUnavailable(f"{path} cannot be used now: {exc}; check the disk and its permissions") from exc
    except sqlite3.DatabaseError as exc:
        raise StoreCorrupt(f"{path} is damaged: {exc}; restore the folder from a backup or ingest again") from exc

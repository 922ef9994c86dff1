"""The tables of a catalog, how an empty one is made, and SQLite's errors as ours."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from retrieval.errors import StoreCorrupt, StoreUnavailable
from retrieval.records import EmbedderInfo

SCHEMA_VERSION = 1

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
CREATE TABLE chunk (
    chunk_key INTEGER PRIMARY KEY AUTOINCREMENT,
    chunk_id TEXT NOT NULL UNIQUE, doc_key INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL, page INTEGER, headings TEXT NOT NULL,
    context TEXT NOT NULL);
CREATE INDEX chunk_document ON chunk (doc_key);
CREATE TABLE vector (chunk_key INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE tombstone (chunk_key INTEGER PRIMARY KEY);
CREATE TABLE segment (
    name TEXT PRIMARY KEY, first_key INTEGER NOT NULL, last_key INTEGER NOT NULL, chunks INTEGER NOT NULL);
CREATE TABLE source (
    source_uri TEXT PRIMARY KEY, status TEXT NOT NULL, doc_id TEXT NOT NULL, content_hash TEXT NOT NULL,
    fingerprint TEXT NOT NULL, size INTEGER NOT NULL, media_type TEXT NOT NULL, chunks INTEGER NOT NULL,
    error TEXT NOT NULL, recorded_at TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX source_document ON source (doc_id);
"""


def create(path: Path, *, name: str, embedder: EmbedderInfo, language: str) -> None:
    """Make the catalog of an empty collection at `path`, which must not exist."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
        values = {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "embedder": json.dumps(asdict(embedder)),
            "language": language,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "sequence": 0,
            "documents": 0,
            "chunks": 0,
        }
        connection.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
        connection.commit()
    finally:
        connection.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, naming the file."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        if "no such table" in str(exc) or "no such column" in str(exc):
            raise StoreCorrupt(f"{path} is not a catalog of Footnote: {exc}") from exc
        raise StoreUnavailable(f"{path} cannot be used now: {exc}; check the disk and its permissions") from exc
    except sqlite3.DatabaseError as exc:
        raise StoreCorrupt(f"{path} is damaged: {exc}; restore the folder from a backup or ingest again") from exc

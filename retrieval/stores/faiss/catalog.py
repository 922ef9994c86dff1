"""The catalog of one collection: a SQLite file (WAL) that is the log of record. What is read of it; `changes` writes.

Whatever an index holds can be built again from these tables. A chunk's key is never used twice, and grows: what is
newer than an index is what has a greater key. Documents, their texts and the ledger belong to all editions; chunks,
vectors, segments and tombstones to one each.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import DocumentNotFound, StoreCorrupt, StoreTooNew, WriterBusy
from retrieval.filters import Filter
from retrieval.ports import Replacement, Vectors
from retrieval.records import (
    Chunking,
    CollectionInfo,
    Document,
    DocumentInfo,
    Edition,
    EmbedderInfo,
    SourceRecord,
    SourceStatus,
    StoredChunk,
)
from retrieval.stores import serial
from retrieval.stores.checks import check_edition
from retrieval.stores.faiss import rows
from retrieval.stores.faiss.changes import Changes
from retrieval.stores.faiss.filter_sql import condition
from retrieval.stores.faiss.index_rows import IndexRows
from retrieval.stores.faiss.rows import Row
from retrieval.stores.faiss.schema import SCHEMA_VERSION, migrate, translated, version_of
from retrieval.stores.postings import Mask

TURN_SECONDS = 30.0
"""How long a writer waits for another one's commit; the longest, of a large batch, takes a few seconds."""

_CHUNK = """
SELECT c.chunk_id, d.doc_id, d.version, c.ordinal, c.start, c."end", c.text, c.page, c.headings, c.context,
       d.source_uri, d.title, d.media_type, d.characters, d.page_starts, d.metadata
FROM chunk c JOIN document d USING (doc_key)
"""
_DOCUMENT = """
SELECT d.doc_id, d.version, d.source_uri, d.title, d.media_type, d.characters, d.page_starts, d.metadata
FROM document d
"""
# Every field that some document has: jumps from name to name in the index instead of reading all of it.
_FIELDS = """
WITH RECURSIVE found (name) AS (
    SELECT min(name) FROM attribute
    UNION ALL SELECT (SELECT min(name) FROM attribute WHERE name > found.name) FROM found WHERE found.name IS NOT NULL)
SELECT name FROM found WHERE name IS NOT NULL
"""


class Catalog(IndexRows):
    """One connection to a catalog. Not for two threads at once, but for one after the other."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        if not path.exists():
            raise StoreCorrupt(f"{path} is missing; restore it from a backup, or delete {path.parent} and ingest again")
        with translated(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=TURN_SECONDS)
            if (version_of(self._db) or SCHEMA_VERSION) < SCHEMA_VERSION:
                migrate(path)
            # FULL: an acknowledged commit survives a power cut, not only the end of the process.
            self._db.execute(f"PRAGMA synchronous = {'FULL' if writable else 'NORMAL'}")
            self._db.execute(f"PRAGMA query_only = {'OFF' if writable else 'ON'}")
            version = version_of(self._db)
        if version is None:
            raise StoreCorrupt(f"{path} is not a catalog of Footnote: it holds no schema version")
        if version > SCHEMA_VERSION:
            raise StoreTooNew(
                f"{path} has schema version {version}, this Footnote reads up to {SCHEMA_VERSION}: upgrade Footnote"
            )
        if version < SCHEMA_VERSION:
            raise StoreCorrupt(
                f"{path} has schema version {version} of an older Footnote, this one reads {SCHEMA_VERSION}: "
                f"`footnote delete --everything -c {path.parent.name}`, then ingest again"
            )

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within this, all reads see one commit."""
        with translated(self.path):
            self._db.execute("BEGIN")
            try:
                self.sequence()  # a transaction begins with its first read
                yield
            finally:
                self._db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[Changes]:
        """All or nothing; durable when it is left, and one more in the sequence.

        Raises WriterBusy when another writer's commit takes longer than `TURN_SECONDS`.
        """
        with translated(self.path):
            self._begin_writing()
            try:
                yield Changes(self._db)
                self._db.execute("UPDATE meta SET value = value + 1 WHERE name = 'sequence'")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def sequence(self) -> int:
        return int(self._db.execute("SELECT value FROM meta WHERE name = 'sequence'").fetchone()[0])

    def live(self) -> int:
        """Number of the live edition."""
        return int(self._db.execute("SELECT value FROM meta WHERE name = 'live'").fetchone()[0])

    def document_count(self) -> int:
        """Documents of the collection, whatever edition has them indexed."""
        return int(self._db.execute("SELECT value FROM meta WHERE name = 'documents'").fetchone()[0])

    def language(self) -> str:
        return str(self._meta()["language"])

    def editions(self) -> dict[int, Edition]:
        """All editions by number."""
        found = self._db.execute(
            "SELECT number, embedder, chunking, documents, chunks, created_at, token_code FROM edition ORDER BY number"
        )
        return {
            row[0]: Edition(row[0], EmbedderInfo(**json.loads(row[1])), Chunking(**json.loads(row[2])), *row[3:])
            for row in found
        }

    def edition_numbers(self) -> set[int]:
        """Of all editions."""
        return {number for (number,) in self._db.execute("SELECT number FROM edition")}

    def edition(self, number: int) -> Edition:
        """Raises EditionNotFound."""
        editions = self.editions()
        check_edition(number, editions)
        return editions[number]

    def info(self, edition: int) -> CollectionInfo:
        meta, editions = self._meta(), self.editions()
        return CollectionInfo(
            name=meta["name"],
            language=meta["language"],
            documents=meta["documents"],
            sequence=meta["sequence"],
            fields=tuple(name for (name,) in self._db.execute(_FIELDS)),
            edition=editions[edition],
            live=meta["live"],
            editions=tuple(editions.values()),
        )

    def chunks(self, edition: int, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        sql = f"{_CHUNK} WHERE c.edition = ? AND c.chunk_id IN (%s)"
        found = {row[0]: row for row in self._in(sql, chunk_ids, edition)}
        return [rows.stored_chunk(found[chunk_id]) for chunk_id in chunk_ids if chunk_id in found]

    def vectors(self, edition: int, chunk_ids: Sequence[str]) -> dict[str, Vectors]:
        sql = "SELECT chunk_id, value FROM chunk JOIN vector USING (chunk_key) WHERE edition = ? AND chunk_id IN (%s)"
        return {chunk_id: np.frombuffer(blob, dtype="<f4") for chunk_id, blob in self._in(sql, chunk_ids, edition)}

    def token_vectors(self, edition: int, chunk_ids: Sequence[str]) -> dict[str, bytes]:
        """By chunk id; empty for a chunk without."""
        sql = """SELECT chunk_id, coalesce(value, x'') FROM chunk LEFT JOIN token_vector USING (chunk_key)
                 WHERE edition = ? AND chunk_id IN (%s)"""
        return dict(self._in(sql, chunk_ids, edition))

    def chunk_keys(self, edition: int, chunk_ids: Sequence[str]) -> dict[str, int]:
        """By chunk id."""
        return dict(
            self._in("SELECT chunk_id, chunk_key FROM chunk WHERE edition = ? AND chunk_id IN (%s)", chunk_ids, edition)
        )

    def document(self, doc_id: str) -> Document:
        sql = """SELECT source_uri, title, media_type, text, elements, page_starts, metadata
                 FROM document JOIN content USING (doc_key) WHERE doc_id = ?"""
        row = self._db.execute(sql, (doc_id,)).fetchone()
        if row is None:
            raise DocumentNotFound(f"no document {doc_id!r} in collection {self._meta()['name']!r}")
        return rows.document(doc_id, row)

    def documents(
        self, edition: int, *, filter: Filter | None, after: str, limit: int, unindexed: bool
    ) -> list[DocumentInfo]:
        sql, bound = condition(filter) if filter else ("(1)", [])
        found = self._db.execute(
            f"""{_DOCUMENT} WHERE d.doc_id > ? AND {sql}
                AND (NOT ? OR NOT EXISTS (SELECT 1 FROM indexed i WHERE i.edition = ? AND i.doc_key = d.doc_key))
                ORDER BY d.doc_id LIMIT ?""",  # noqa: S608 - values are bound
            (after, *bound, unindexed, edition, limit),
        )
        return [rows.document_info(row) for row in found]

    def infos(self, doc_ids: Sequence[str]) -> list[DocumentInfo]:
        """In no order; ids that are not there are left out."""
        sql = f"{_DOCUMENT} WHERE d.doc_id IN (%s)"
        return [rows.document_info(row) for row in self._in(sql, doc_ids)]

    def contents(self, edition: int, doc_ids: Sequence[str]) -> list[Replacement]:
        """In the order given; ids that are not there are left out."""
        described = self.edition(edition)
        dimension = described.embedder.dimension
        sql = f"""{_CHUNK.replace("SELECT", "SELECT v.value, t.value,")} LEFT JOIN vector v USING (chunk_key)
                  LEFT JOIN token_vector t USING (chunk_key)
                  WHERE d.doc_id = ? AND c.edition = ? ORDER BY c.ordinal"""
        found = []
        for doc_id in doc_ids:
            try:
                document = self.document(doc_id)
            except DocumentNotFound:
                continue
            lines = self._db.execute("SELECT * FROM source WHERE doc_id = ? ORDER BY source_uri", (doc_id,)).fetchall()
            parts = self._db.execute(sql, (doc_id, edition)).fetchall()
            if any(row[0] is None or len(row[0]) != 4 * dimension for row in parts) or (
                described.token_code and not all(row[1] for row in parts)
            ):
                raise StoreCorrupt(
                    f"{self.path}: document {doc_id!r} lacks a vector of the right size, or token vectors, in "
                    f"edition {edition}; `footnote doctor --repair -c {self.path.parent.name}` makes it again"
                )
            found.append(
                Replacement(
                    document,
                    [rows.stored_chunk(row[2:]).chunk for row in parts],
                    np.frombuffer(b"".join(row[0] for row in parts), dtype="<f4").reshape(len(parts), dimension),
                    serial.source(lines[-1]) if lines else None,
                    token_vectors=[row[1] for row in parts] if described.token_code else [],
                )
            )
        return found

    def sources(
        self, *, uris: Sequence[str] | None, status: SourceStatus | None, prefix: str, after: str, limit: int | None
    ) -> list[SourceRecord]:
        # Nothing is greater than what begins with `prefix` and less than this, in the order of code points.
        wanted, bound = "source_uri > ? AND source_uri >= ? AND source_uri < ?", [after, prefix, f"{prefix}\U0010ffff"]
        if status is not None:
            wanted, bound = f"{wanted} AND status = ?", [*bound, status]
        order = f"ORDER BY source_uri LIMIT {-1 if limit is None else limit:d}"
        if uris is None:
            lines = self._db.execute(f"SELECT * FROM source WHERE {wanted} {order}", bound).fetchall()  # noqa: S608 - bound
        else:
            sql = f"SELECT * FROM source WHERE {wanted} AND source_uri IN (%s)"  # noqa: S608 - bound
            lines = sorted(self._in(sql, sorted(set(uris)), *bound))[:limit]
        return [serial.source(line) for line in lines]

    def passing(self, filter: Filter) -> Mask:
        """Which documents the filter lets through, by key; those of greater keys do not pass, nor does the last one."""
        sql, bound = condition(filter)
        found = self._db.execute(f"SELECT d.doc_key FROM document d WHERE {sql}", bound)  # noqa: S608 - values are bound
        keys = np.fromiter((key for (key,) in found), dtype=np.int64)
        passing = np.zeros(int(keys.max(initial=0)) + 2, dtype=np.bool_)
        passing[keys] = True
        return passing

    def rows(self, sql: str, *bound: object) -> Iterator[Row]:
        """What a query of `audit` finds."""
        return self._db.execute(sql, bound)

    def reindex(self) -> None:
        """Build what leads to the rows of tables anew. Raises StoreCorrupt when two rows are where one may be."""
        with translated(self.path):
            self._db.execute("REINDEX")

    def rewrite(self) -> None:
        """Write the whole file anew, without what was deleted, and empty its journal.

        Takes as much disk again as the file has, in its folder and where SQLite keeps temporary files, and keeps other
        writers waiting meanwhile. Raises WriterBusy when one is at work, or a reader holds an old commit, for longer
        than `TURN_SECONDS`.
        """
        with translated(self.path):
            try:
                self._db.execute("VACUUM")
                busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                busy = 1
        if busy:
            raise WriterBusy(
                f"collection {self.path.parent.name!r}: its journal cannot be emptied, since another process has been "
                f"reading or writing for {TURN_SECONDS:.0f} s; wait for it, or stop it, and try again"
            )

    def _begin_writing(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise WriterBusy(
                f"collection {self.path.parent.name!r} is being written to by another process, which has not finished "
                f"within {TURN_SECONDS:.0f} s; wait for it, or stop it, and try again"
            ) from exc

    def _meta(self) -> dict[str, Any]:
        return dict(self._db.execute("SELECT name, value FROM meta"))

    def _in(self, sql: str, values: Sequence[object], *before: object) -> Iterator[Row]:
        """Run `sql`, whose `%s` becomes the placeholders of `values`; in slices, since SQLite binds 32,766 at most."""
        for i in range(0, len(values), 10_000):
            part = values[i : i + 10_000]
            yield from self._db.execute(sql % ",".join("?" * len(part)), (*before, *part))

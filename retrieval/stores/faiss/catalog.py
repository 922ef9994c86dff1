"""The catalog of one collection: a SQLite file (WAL) that is the log of record. Every statement is here.

Whatever an index holds can be built again from these tables. A chunk's key is never used twice, and grows: what is
newer than an index is what has a greater key.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval import filters
from retrieval.errors import DocumentNotFound, StoreCorrupt, StoreTooNew
from retrieval.filters import Filter
from retrieval.ports import Replacement, Vectors
from retrieval.records import (
    CollectionInfo,
    Document,
    DocumentInfo,
    EmbedderInfo,
    SourceRecord,
    SourceStatus,
    StoredChunk,
)
from retrieval.stores.faiss import rows
from retrieval.stores.faiss.filter_sql import condition
from retrieval.stores.faiss.rows import Row
from retrieval.stores.faiss.schema import SCHEMA_VERSION, translated

Keys = NDArray[np.int64]

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


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment that the catalog knows: its folder, the range of keys it covers, how many chunks it was built of."""

    name: str
    first_key: int
    last_key: int
    chunks: int


class Catalog:
    """One connection to a catalog. Not for two threads at once, but for one after the other."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        if not path.exists():
            raise StoreCorrupt(f"{path} is missing; restore it from a backup, or delete {path.parent} and ingest again")
        with translated(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
            # FULL: an acknowledged commit survives a power cut, not only the end of the process.
            self._db.execute(f"PRAGMA synchronous = {'FULL' if writable else 'NORMAL'}")
            self._db.execute(f"PRAGMA query_only = {'OFF' if writable else 'ON'}")
            version = self._meta().get("schema_version")
        if version is None:
            raise StoreCorrupt(f"{path} is not a catalog of Footnote: it holds no schema version")
        if version > SCHEMA_VERSION:
            raise StoreTooNew(
                f"{path} has schema version {version}, this Footnote reads up to {SCHEMA_VERSION}: upgrade Footnote"
            )

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within this, all reads see one commit."""
        with translated(self.path):
            self._db.execute("BEGIN")
            try:
                self._db.execute(
                    "SELECT value FROM meta LIMIT 1"
                ).fetchone()  # a transaction begins with its first read
                yield
            finally:
                self._db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing; durable when it is left, and one more in the sequence."""
        with translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("UPDATE meta SET value = value + 1 WHERE name = 'sequence'")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # Reading

    def sequence(self) -> int:
        return int(self._db.execute("SELECT value FROM meta WHERE name = 'sequence'").fetchone()[0])

    def embedder(self) -> EmbedderInfo:
        return EmbedderInfo(**json.loads(self._meta()["embedder"]))

    def language(self) -> str:
        return str(self._meta()["language"])

    def info(self) -> CollectionInfo:
        meta = self._meta()
        return CollectionInfo(
            name=meta["name"],
            embedder=EmbedderInfo(**json.loads(meta["embedder"])),
            language=meta["language"],
            documents=meta["documents"],
            chunks=meta["chunks"],
            sequence=meta["sequence"],
            fields=tuple(name for (name,) in self._db.execute(_FIELDS)),
        )

    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        found = {row[0]: row for row in self._in(f"{_CHUNK} WHERE c.chunk_id IN (%s)", chunk_ids)}
        return [rows.stored_chunk(found[chunk_id]) for chunk_id in chunk_ids if chunk_id in found]

    def chunk_ids(self, keys: Iterable[int]) -> dict[int, str]:
        return dict(self._in("SELECT chunk_key, chunk_id FROM chunk WHERE chunk_key IN (%s)", list(keys)))

    def vectors(self, chunk_ids: Sequence[str]) -> dict[str, Vectors]:
        sql = "SELECT chunk_id, value FROM chunk JOIN vector USING (chunk_key) WHERE chunk_id IN (%s)"
        return {chunk_id: np.frombuffer(blob, dtype="<f4") for chunk_id, blob in self._in(sql, chunk_ids)}

    def document(self, doc_id: str) -> Document:
        sql = """SELECT source_uri, title, media_type, text, elements, page_starts, metadata
                 FROM document JOIN content USING (doc_key) WHERE doc_id = ?"""
        row = self._db.execute(sql, (doc_id,)).fetchone()
        if row is None:
            raise DocumentNotFound(f"no document {doc_id!r} in collection {self._meta()['name']!r}")
        return rows.document(doc_id, row)

    def documents(self, *, filter: Filter | None, after: str, limit: int) -> list[DocumentInfo]:
        sql, bound = condition(filter) if filter else ("(1)", [])
        found = self._db.execute(
            f"{_DOCUMENT} WHERE d.doc_id > ? AND {sql} ORDER BY d.doc_id LIMIT ?",
            (after, *bound, limit),
        )
        return [rows.document_info(row) for row in found]

    def sources(self, *, uris: Sequence[str] | None, status: SourceStatus | None) -> list[SourceRecord]:
        if uris is None:
            lines = self._db.execute("SELECT * FROM source ORDER BY source_uri").fetchall()
        else:
            lines = sorted(self._in("SELECT * FROM source WHERE source_uri IN (%s)", sorted(set(uris))))
        found = [SourceRecord(*line) for line in lines]
        return [source for source in found if status is None or source.status == status]

    def passing(self, filter: Filter) -> Keys:
        """Keys of the chunks whose document the filter lets through, ascending."""
        sql, bound = condition(filter)
        found = self._db.execute(
            f"SELECT c.chunk_key FROM document d JOIN chunk c USING (doc_key) WHERE {sql}",  # noqa: S608 - values are bound
            bound,
        )
        return np.sort(np.fromiter((key for (key,) in found), dtype=np.int64))

    def newer_than(self, key: int, *, limit: int = -1) -> tuple[Keys, Vectors, list[str]]:
        """What an index needs of the live chunks with a greater key: keys ascending, vectors, indexed texts."""
        return self._index_input("c.chunk_key > ?", key, limit=limit)

    def between(self, first: int, last: int) -> tuple[Keys, Vectors, list[str]]:
        """The same of the live chunks from `first` to `last`."""
        return self._index_input("c.chunk_key BETWEEN ? AND ?", first, last)

    def segments(self) -> list[SegmentRow]:
        """By first key; their ranges do not overlap."""
        sql = "SELECT name, first_key, last_key, chunks FROM segment ORDER BY first_key"
        return [SegmentRow(*row) for row in self._db.execute(sql)]

    def tombstones(self) -> Keys:
        """Keys of dead chunks that an index may still hold, ascending."""
        found = self._db.execute("SELECT chunk_key FROM tombstone ORDER BY chunk_key")
        return np.fromiter((key for (key,) in found), dtype=np.int64)

    def last_key(self) -> int:
        """The greatest key ever given to a chunk; 0 when there was none."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'").fetchone()
        return int(row[0]) if row else 0

    # Writing, within `writing()`

    def put(self, replacement: Replacement) -> None:
        """Put a document in the place of its former version."""
        document = replacement.document
        self.remove(document.doc_id)
        cursor = self._db.execute(
            """INSERT INTO document (doc_id, version, source_uri, title, media_type, characters, page_starts, metadata)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                document.doc_id, document.version, document.source_uri, document.title, document.media_type,
                len(document.text), json.dumps(document.page_starts), json.dumps(dict(document.metadata)),
            ),
        )  # fmt: skip
        doc_key = cursor.lastrowid
        elements = [(e.kind, e.start, e.end, e.headings, e.level) for e in document.elements]
        self._db.execute("INSERT INTO content VALUES (?, ?, ?)", (doc_key, document.text, json.dumps(elements)))
        self._db.executemany(
            "INSERT OR IGNORE INTO attribute VALUES (?, ?, ?, ?)",  # a list may hold a value twice
            [
                (name, filters.kind(value), value, doc_key)
                for name in document.metadata
                for value in filters.values(document.info, name)
            ],
        )
        for chunk, vector in zip(replacement.chunks, replacement.vectors, strict=True):
            cursor = self._db.execute(
                """INSERT INTO chunk (chunk_id, doc_key, ordinal, start, "end", text, page, headings, context)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    chunk.chunk_id, doc_key, chunk.ordinal, chunk.start, chunk.end, chunk.text, chunk.page,
                    json.dumps(chunk.headings), chunk.context,
                ),
            )  # fmt: skip
            self._db.execute("INSERT INTO vector VALUES (?, ?)", (cursor.lastrowid, vector.astype("<f4").tobytes()))
        self._count(documents=1, chunks=len(replacement.chunks))
        if replacement.source:
            self.record([replacement.source])

    def remove(self, doc_id: str) -> bool:
        """Remove a document with its chunks; its ledger line stays. False when there was none."""
        row = self._db.execute("SELECT doc_key FROM document WHERE doc_id = ?", (doc_id,)).fetchone()
        if row is None:
            return False
        self._db.execute("INSERT INTO tombstone SELECT chunk_key FROM chunk WHERE doc_key = ?", row)
        self._db.execute("DELETE FROM vector WHERE chunk_key IN (SELECT chunk_key FROM chunk WHERE doc_key = ?)", row)
        gone = self._db.execute("DELETE FROM chunk WHERE doc_key = ?", row).rowcount
        for table in ("attribute", "content", "document"):
            self._db.execute(f"DELETE FROM {table} WHERE doc_key = ?", row)  # noqa: S608 - the names above
        self._count(documents=-1, chunks=-gone)
        return True

    def forget(self, doc_id: str) -> None:
        """Remove the ledger lines of a document."""
        self._db.execute("DELETE FROM source WHERE doc_id = ?", (doc_id,))

    def record(self, sources: Iterable[SourceRecord]) -> None:
        """Write ledger lines, each in the place of the former one of its source."""
        rows = [astuple(source) for source in sources]
        self._db.executemany("INSERT OR REPLACE INTO source VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def switch_segments(self, *, remove: Iterable[SegmentRow], add: SegmentRow | None) -> None:
        """Put `add` in the place of `remove`; tombstones that no segment needs any more go."""
        self._db.executemany("DELETE FROM segment WHERE name = ?", [(row.name,) for row in remove])
        if add:
            self._db.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", astuple(add))
            # All keys of this range were read from `chunk` when `add` was built, so the dead ones are not in it.
            self._db.execute("DELETE FROM tombstone WHERE chunk_key BETWEEN ? AND ?", (add.first_key, add.last_key))

    def _meta(self) -> dict[str, Any]:
        return dict(self._db.execute("SELECT name, value FROM meta"))

    def _count(self, *, documents: int, chunks: int) -> None:
        self._db.execute("UPDATE meta SET value = value + ? WHERE name = 'documents'", (documents,))
        self._db.execute("UPDATE meta SET value = value + ? WHERE name = 'chunks'", (chunks,))

    def _in(self, sql: str, values: Sequence[object]) -> Iterator[Row]:
        """Run `sql`, whose `%s` becomes the placeholders of `values`; in slices, since SQLite binds 32,766 at most."""
        for i in range(0, len(values), 10_000):
            part = values[i : i + 10_000]
            yield from self._db.execute(sql % ",".join("?" * len(part)), part)

    def _index_input(self, where: str, *bound: int, limit: int = -1) -> tuple[Keys, Vectors, list[str]]:
        found = self._db.execute(
            f"""SELECT c.chunk_key, v.value, c.context, c.text FROM chunk c JOIN vector v USING (chunk_key)
                WHERE {where} ORDER BY c.chunk_key LIMIT ?""",  # noqa: S608 - called with literals, above
            (*bound, limit),
        ).fetchall()
        keys = np.array([row[0] for row in found], dtype=np.int64)
        vectors = np.frombuffer(b"".join(row[1] for row in found), dtype="<f4")
        texts = [f"{context}\n{text}" if context else text for _, _, context, text in found]
        return keys, vectors.reshape(len(found), -1 if found else 0), texts

"""What a commit may change in the catalog. Every statement that writes is here; `Catalog.writing` gives the means."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple

import numpy as np

from retrieval import filters
from retrieval.ports import Replacement
from retrieval.records import Chunking, Document, DocumentInfo, EmbedderInfo, Scalar, SourceRecord
from retrieval.stores import serial
from retrieval.stores.faiss.mending import STATEMENTS
from retrieval.stores.faiss.rows import SegmentRow
from retrieval.stores.faiss.schema import insert_edition

_BESIDE_CHUNKS = ("vector", "token_vector")
"""Tables with a row for a chunk, which goes with it."""


class Changes:
    """Changes within one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, edition: int, replacement: Replacement) -> None:
        """Put a document in the place of its former version, with chunks in one edition and none in the others."""
        self.remove(replacement.document.doc_id)
        doc_key = self._put_document(replacement.document)
        self._put_chunks(edition, doc_key, replacement)
        if replacement.source:
            self.record([replacement.source])

    def index(self, edition: int, replacement: Replacement) -> bool:
        """Give a document its chunks in an edition; False when it is not there as it was, by version and title."""
        document = replacement.document
        row = self._db.execute(
            "SELECT doc_key FROM document WHERE doc_id = ? AND version = ? AND title = ?",
            (document.doc_id, document.version, document.title),
        ).fetchone()
        if row is None:
            return False
        self._remove_chunks(edition, row[0])
        self._put_chunks(edition, row[0], replacement)
        return True

    def remove(self, doc_id: str) -> bool:
        """Remove a document with its chunks in all editions; its ledger line stays. False when there was none."""
        row = self._db.execute("SELECT doc_key FROM document WHERE doc_id = ?", (doc_id,)).fetchone()
        if row is None:
            return False
        for (edition,) in self._db.execute("SELECT edition FROM indexed WHERE doc_key = ?", row).fetchall():
            self._remove_chunks(edition, row[0])
        for table in ("attribute", "content", "document"):
            self._db.execute(f"DELETE FROM {table} WHERE doc_key = ?", row)  # noqa: S608 - the names above
        self._db.execute("UPDATE meta SET value = value - 1 WHERE name = 'documents'")
        return True

    def forget(self, doc_id: str) -> None:
        """Remove the ledger lines of a document."""
        self._db.execute("DELETE FROM source WHERE doc_id = ?", (doc_id,))

    def record(self, sources: Iterable[SourceRecord]) -> None:
        """Write ledger lines, each in the place of the former one of its source."""
        marks = ", ".join("?" * len(serial.SOURCE_COLUMNS))
        rows = [serial.source_row(source) for source in sources]
        self._db.executemany(f"INSERT OR REPLACE INTO source VALUES ({marks})", rows)  # noqa: S608 - question marks

    def add_edition(self, embedder: EmbedderInfo, chunking: Chunking, token_code: str) -> int:
        """Its number."""
        return insert_edition(self._db, embedder, chunking, token_code)

    def switch_edition(self, edition: int) -> None:
        """Make an edition the live one."""
        self._db.execute("UPDATE meta SET value = ? WHERE name = 'live'", (edition,))

    def drop_edition(self, edition: int) -> None:
        """From this commit on there is no such edition; `purge` removes what it holds."""
        self._db.execute("DELETE FROM edition WHERE number = ?", (edition,))
        self._db.execute("DELETE FROM segment WHERE edition = ?", (edition,))
        self._db.execute("INSERT INTO dropped VALUES (?)", (edition,))

    def purge(self, edition: int, limit: int) -> bool:
        """Remove up to `limit` chunks of a dropped edition; False when nothing of it is left."""
        some = "(SELECT chunk_key FROM chunk WHERE edition = ? ORDER BY chunk_key LIMIT ?)"
        for table in _BESIDE_CHUNKS:
            self._db.execute(f"DELETE FROM {table} WHERE chunk_key IN {some}", (edition, limit))  # noqa: S608 - literals
        gone = self._db.execute(f"DELETE FROM chunk WHERE chunk_key IN {some}", (edition, limit)).rowcount  # noqa: S608
        if gone < limit:
            for table in ("indexed", "tombstone", "dropped"):
                self._db.execute(f"DELETE FROM {table} WHERE edition = ?", (edition,))  # noqa: S608 - the names above
        return gone == limit

    def switch_segments(
        self, *, edition: int, first: int, last: int, remove: Sequence[SegmentRow], add: SegmentRow | None, read_at: int
    ) -> bool:
        """Put `add`, built of what lived from key `first` to `last` at commit `read_at`, in the place of `remove`.

        False, with nothing changed, when the edition or the segments are not as they were.
        """
        if not self._db.execute("SELECT 1 FROM edition WHERE number = ?", (edition,)).fetchone():
            return False
        sql = "SELECT name FROM segment WHERE edition = ? AND last_key >= ? AND first_key <= ?"
        standing = {name for (name,) in self._db.execute(sql, (edition, first, last))}
        if standing != {row.name for row in remove}:
            return False
        self._db.executemany("DELETE FROM segment WHERE name = ?", [(name,) for name in standing])
        if add:
            self._db.execute("INSERT INTO segment VALUES (?, ?, ?, ?, ?)", astuple(add))
        # What had died by then is not in `add`; what has died since is.
        self._db.execute(
            "DELETE FROM tombstone WHERE edition = ? AND chunk_key BETWEEN ? AND ? AND died <= ?",
            (edition, first, last, read_at),
        )
        return True

    def mend(self) -> None:
        """Remove rows that belong to nothing, and count again."""
        for statement in STATEMENTS:
            self._db.execute(statement)

    def put_fields(self, document: DocumentInfo) -> None:
        """Write anew what filters look at, of one document, from its metadata."""
        row = self._db.execute("SELECT doc_key FROM document WHERE doc_id = ?", (document.doc_id,)).fetchone()
        if row:
            self._db.execute("DELETE FROM attribute WHERE doc_key = ?", row)
            self._put_fields(row[0], document)

    def replace_segments(self, edition: int, add: Sequence[SegmentRow], *, last: int, read_at: int) -> None:
        """Put `add`, built of what lived up to key `last` at commit `read_at`, in the place of all an edition has."""
        self._db.execute("DELETE FROM segment WHERE edition = ?", (edition,))
        self._db.executemany("INSERT INTO segment VALUES (?, ?, ?, ?, ?)", map(astuple, add))
        self._db.execute(
            "DELETE FROM tombstone WHERE edition = ? AND chunk_key <= ? AND died <= ?", (edition, last, read_at)
        )

    def _put_fields(self, doc_key: int, document: DocumentInfo) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO attribute VALUES (?, ?, ?, ?)",  # a list may hold a value twice
            [(*field, doc_key) for field in fields(document)],
        )

    def _put_document(self, document: Document) -> int:
        cursor = self._db.execute(
            """INSERT INTO document (doc_id, version, source_uri, title, media_type, characters, page_starts, metadata)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                document.doc_id, document.version, document.source_uri, document.title, document.media_type,
                len(document.text), json.dumps(document.page_starts), json.dumps(dict(document.metadata)),
            ),
        )  # fmt: skip
        doc_key = int(cursor.lastrowid or 0)
        elements = serial.elements_json(document.elements)
        self._db.execute("INSERT INTO content VALUES (?, ?, ?)", (doc_key, document.text, elements))
        self._put_fields(doc_key, document.info)
        self._db.execute("UPDATE meta SET value = value + 1 WHERE name = 'documents'")
        return doc_key

    def _put_chunks(self, edition: int, doc_key: int, replacement: Replacement) -> None:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'").fetchone()
        first = row[0] + 1 if row else 1
        self._db.executemany(
            """INSERT INTO chunk
               (chunk_key, edition, doc_key, chunk_id, ordinal, start, "end", text, page, headings, context)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            [
                (
                    key, edition, doc_key, chunk.chunk_id, chunk.ordinal, chunk.start, chunk.end, chunk.text,
                    chunk.page, json.dumps(chunk.headings), chunk.context,
                )
                for key, chunk in enumerate(replacement.chunks, first)
            ],
        )  # fmt: skip
        vectors = np.ascontiguousarray(replacement.vectors, dtype="<f4")
        self._db.executemany(
            "INSERT INTO vector VALUES (?, ?)", [(key, v.data) for key, v in enumerate(vectors, first)]
        )
        self._db.executemany("INSERT INTO token_vector VALUES (?, ?)", enumerate(replacement.token_vectors, first))
        self._db.execute("INSERT INTO indexed VALUES (?, ?)", (edition, doc_key))
        self._count(edition, documents=1, chunks=len(replacement.chunks))

    def _remove_chunks(self, edition: int, doc_key: int) -> None:
        if not self._db.execute("DELETE FROM indexed WHERE edition = ? AND doc_key = ?", (edition, doc_key)).rowcount:
            return
        one = "FROM chunk WHERE doc_key = ? AND edition = ?"
        # The commit that is being written is the one after the last.
        self._db.execute(
            f"""INSERT INTO tombstone
                SELECT edition, chunk_key, (SELECT value + 1 FROM meta WHERE name = 'sequence') {one}""",  # noqa: S608
            (doc_key, edition),
        )
        for table in _BESIDE_CHUNKS:
            self._db.execute(f"DELETE FROM {table} WHERE chunk_key IN (SELECT chunk_key {one})", (doc_key, edition))  # noqa: S608
        gone = self._db.execute(f"DELETE {one}", (doc_key, edition)).rowcount
        self._count(edition, documents=-1, chunks=-gone)

    def _count(self, edition: int, *, documents: int, chunks: int) -> None:
        self._db.execute(
            "UPDATE edition SET documents = documents + ?, chunks = chunks + ? WHERE number = ?",
            (documents, chunks, edition),
        )


def fields(document: DocumentInfo) -> Iterator[tuple[str, str, Scalar]]:
    """Name, type and value of what a document can be filtered by; each member of a list by itself."""
    for name in document.metadata:
        for value in filters.values(document, name):
            yield name, filters.kind(value), value

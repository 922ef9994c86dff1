"""What the rows of a catalog are to an index: which chunks live, of what it is built, which segments there are."""

import json
import sqlite3
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Vectors
from retrieval.stores.faiss.rows import SegmentRow

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class IndexInput:
    """What an index is built of: live chunks by ascending key."""

    keys: Keys
    vectors: Vectors
    texts: list[str]
    chunk_ids: list[str]
    doc_keys: Keys


class IndexRows:
    """Reads of one connection, see `Catalog`."""

    _db: sqlite3.Connection

    def index_input(self, edition: int, first: int, last: int, *, limit: int = -1) -> IndexInput:
        """The chunks that live in a range of keys, ends included; the first `limit` of them, where that is not -1.

        A chunk without a vector of the right size cannot be found and is left out; see `audit`.
        """
        [(embedder,)] = self._db.execute("SELECT embedder FROM edition WHERE number = ?", (edition,)).fetchall()
        dimension = int(json.loads(embedder)["dimension"])
        found = self._db.execute(
            """SELECT c.chunk_key, v.value, c.context, c.text, c.chunk_id, c.doc_key
               FROM chunk c JOIN vector v USING (chunk_key)
               WHERE c.edition = ? AND c.chunk_key BETWEEN ? AND ? AND length(v.value) = ?
               ORDER BY c.chunk_key LIMIT ?""",
            (edition, first, last, 4 * dimension, limit),
        ).fetchall()
        vectors = np.frombuffer(b"".join(row[1] for row in found), dtype="<f4")
        return IndexInput(
            keys=np.array([row[0] for row in found], dtype=np.int64),
            vectors=vectors.reshape(len(found), dimension),
            texts=[f"{context}\n{text}" if context else text for _, _, context, text, _, _ in found],
            chunk_ids=[row[4] for row in found],
            doc_keys=np.array([row[5] for row in found], dtype=np.int64),
        )

    def waiting(self, edition: int, key: int, *, limit: int) -> int:
        """How many live chunks have a greater key than `key`; counts up to `limit`."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM chunk WHERE edition = ? AND chunk_key > ? LIMIT ?)"
        return int(self._db.execute(sql, (edition, key, limit)).fetchone()[0])

    def living(self, edition: int, first: int, last: int) -> int:
        """How many chunks live in a range of keys, ends included."""
        sql = "SELECT count(*) FROM chunk WHERE edition = ? AND chunk_key BETWEEN ? AND ?"
        return int(self._db.execute(sql, (edition, first, last)).fetchone()[0])

    def segments(self, edition: int) -> list[SegmentRow]:
        """By first key; their ranges do not overlap."""
        sql = "SELECT name, edition, first_key, last_key, chunks FROM segment WHERE edition = ? ORDER BY first_key"
        return [SegmentRow(*row) for row in self._db.execute(sql, (edition,))]

    def segment_names(self) -> set[str]:
        """Of all editions."""
        return {name for (name,) in self._db.execute("SELECT name FROM segment")}

    def tombstones(self, edition: int) -> Keys:
        """Keys of dead chunks that an index may still hold, ascending."""
        found = self._db.execute("SELECT chunk_key FROM tombstone WHERE edition = ? ORDER BY chunk_key", (edition,))
        return np.fromiter((key for (key,) in found), dtype=np.int64)

    def dead(self, row: SegmentRow) -> int:
        """How many chunks of a segment have died since it was built."""
        sql = "SELECT count(*) FROM tombstone WHERE edition = ? AND chunk_key BETWEEN ? AND ?"
        return int(self._db.execute(sql, (row.edition, row.first_key, row.last_key)).fetchone()[0])

    def last_key(self) -> int:
        """The greatest key ever given to a chunk of any edition; 0 when there was none."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'").fetchone()
        return int(row[0]) if row else 0

    def last_of(self, edition: int, first: int, last: int, *, limit: int) -> int | None:
        """The greatest key of the first `limit` live chunks in a range of keys; None when there is none."""
        sql = """SELECT max(chunk_key) FROM
                 (SELECT chunk_key FROM chunk WHERE edition = ? AND chunk_key BETWEEN ? AND ?
                  ORDER BY chunk_key LIMIT ?)"""
        found: int | None = self._db.execute(sql, (edition, first, last, limit)).fetchone()[0]
        return found

    def dropped(self) -> list[int]:
        """Editions that were dropped and of which something is still here."""
        return [number for (number,) in self._db.execute("SELECT edition FROM dropped")]

"""What a keeper mends in the tables of a collection, within the transaction of a writer that has the turn."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from psycopg import Connection

from retrieval.stores.pgvector import arrays, lexical, lexical_upkeep
from retrieval.stores.pgvector.arrays import BigintArray
from retrieval.stores.pgvector.audit import EDITION_ORPHANS, FIELD_DIFFERENCES, ORPHAN_TABLES, SHARED_ORPHANS
from retrieval.stores.pgvector.schema import Schema, create_edition, drop_edition
from retrieval.stores.pgvector.text import unescape

_BLOCK = 8_192
"""Chunks of a lexical segment that is made anew."""


class Mending:
    """Mends one collection."""

    def __init__(self, connection: Connection[Any], schema: Schema, collection_key: int) -> None:
        self._connection = connection
        self._schema = schema
        self._key = collection_key

    def shared(self) -> None:
        """Remove rows and tables that belong to nothing, and documents without a text."""
        for table, condition in SHARED_ORPHANS.items():
            self._run(f"DELETE FROM {{{table}}} t WHERE {condition}")  # noqa: S608 - literals of ours
        keys = {int(table.rpartition("_")[2]) for (table,) in self._run(ORPHAN_TABLES, self._schema.name).fetchall()}
        for edition_key in sorted(keys):
            drop_edition(self._connection, self._schema, edition_key)

    def edition(self, edition_key: int) -> None:
        """Remove rows that belong to nothing from an edition's tables."""
        for table, condition in EDITION_ORPHANS.items():
            self._run(f"DELETE FROM {{{table}}} t WHERE {condition}", edition_key=edition_key)  # noqa: S608

    def make_tables(self, edition_key: int, dimension: int, *, token_vectors: bool) -> None:
        """Empty tables for an edition that lacks some of its own.

        By a new key: what other processes remember of the former tables is remembered by their key. What is left of
        these goes with the next sweep.
        """
        [(new,)] = self._run(_NEW_KEY, edition_key).fetchall()
        self._run("INSERT INTO {dropped} VALUES (%s)", edition_key)
        create_edition(self._connection, self._schema, new, dimension, token_vectors=token_vectors)

    def count(self, edition_keys: Collection[int]) -> None:
        """Let all counts be those of the rows, and no number that only grows be behind."""
        for edition_key in edition_keys:
            self._run(_COUNT_EDITION, edition_key, edition_key=edition_key)
        self._run(_COUNT_COLLECTION, self._key)
        differences = self._run(FIELD_DIFFERENCES, self._key, self._key, str(self._key)).fetchall()
        for name, _, there in differences:
            self._run(_PUT_FIELD, self._key, name, there)

    def rebuild(self, edition_key: int, segments: Collection[int], terms: Callable[[str], list[str]]) -> None:
        """Drop these lexical segments, and index what is in no segment then; other writers wait meanwhile."""
        lexical_upkeep.wait_for_turn(self._connection, self._schema.name, edition_key)
        for table in ("posting", "segment"):
            self._run(
                f"DELETE FROM {{{table}}} WHERE segment_key = ANY(%s)",  # noqa: S608 - the names above
                BigintArray(np.array(sorted(segments), dtype=np.int64)),
                edition_key=edition_key,
            )
        held = [np.zeros(0, dtype=np.int64)]
        for (keys,) in self._run("SELECT keys FROM {segment}", edition_key=edition_key).fetchall():
            held.append(np.frombuffer(keys, "<i8"))
        dead = self._keys("SELECT chunk_key FROM {tombstone}", edition_key)
        gone = BigintArray(np.setdiff1d(dead, np.concatenate(held)))
        self._run("DELETE FROM {tombstone} WHERE chunk_key = ANY(%s)", gone, edition_key=edition_key)
        missing = np.setdiff1d(self._keys("SELECT chunk_key FROM {chunk}", edition_key), np.concatenate(held))
        for first in range(0, len(missing), _BLOCK):
            self._index(edition_key, missing[first : first + _BLOCK], terms)

    def _index(self, edition_key: int, keys: arrays.Keys, terms: Callable[[str], list[str]]) -> None:
        found = self._run(
            "SELECT context, text FROM {chunk} WHERE chunk_key = ANY(%s) ORDER BY chunk_key",
            BigintArray(keys),
            edition_key=edition_key,
        ).fetchall()
        texts = [unescape(f"{context}\n{text}" if context else text) for context, text in found]
        lexical.add(self._connection, self._schema.name, edition_key, keys, lexical.prepare(texts, terms))

    def _keys(self, select: str, edition_key: int) -> arrays.Keys:
        sql = f"SELECT string_agg(int8send(chunk_key), ''::bytea) FROM ({select}) AS found"  # noqa: S608 - of ours
        [(sent,)] = self._run(sql, edition_key=edition_key).fetchall()
        return np.sort(arrays.keys_of(sent))

    def _run(self, template: str, *bound: object, edition_key: int = 0) -> Any:
        return self._connection.execute(self._schema.statement(template, edition_key), bound)


_NEW_KEY = "UPDATE {edition} SET edition_key = DEFAULT, last_key = 0 WHERE edition_key = %s RETURNING edition_key"
_COUNT_EDITION = """
UPDATE {edition} SET
    documents = (SELECT count(*) FROM {indexed}),
    chunks = (SELECT coalesce(sum(i.chunks), 0) FROM {indexed} i),
    last_key = greatest(last_key, (SELECT max(chunk_key) FROM {chunk}),
                        (SELECT max(i.first_key + i.chunks - 1) FROM {indexed} i))
WHERE edition_key = %s
"""
_COUNT_COLLECTION = """
UPDATE {collection} c SET
    documents = (SELECT count(*) FROM {document} d WHERE d.collection_key = c.collection_key),
    last_edition = greatest(last_edition, (SELECT max(e.number) FROM {edition} e
                                           WHERE e.collection_key = c.collection_key))
WHERE c.collection_key = %s
"""
_PUT_FIELD = """
INSERT INTO {field} (collection_key, name, documents) VALUES (%s, %s, %s)
ON CONFLICT (collection_key, name) DO UPDATE SET documents = excluded.documents
"""

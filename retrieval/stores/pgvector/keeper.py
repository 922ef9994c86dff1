"""Looking after a collection in PostgreSQL: compares its tables, mends what follows from them, removes remains.

What a server keeps of a deleted text is more than its tables show, see `PgvectorKeeper.purge`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import Connection, sql

from retrieval.analysis import analyzer
from retrieval.errors import CollectionNotFound
from retrieval.ports import Finding
from retrieval.stores import raw
from retrieval.stores.pgvector import dense, lexical_audit, lexical_upkeep
from retrieval.stores.pgvector.audit import Audit, EditionRow
from retrieval.stores.pgvector.mending import Mending
from retrieval.stores.pgvector.text import escape
from retrieval.stores.pgvector.writing import Commit

if TYPE_CHECKING:
    from retrieval.stores.pgvector.store import PgvectorCollections

_PROBES = 64
_FOUND = 0.75
"""Of so many vectors such a share must be found through the approximate index. A whole one finds nearly all."""
_NEAREST = 8
_EQUAL = -0.99
"""Inner products are negative here; those of a vector with itself are about -1."""
_SEGMENTS = {"damaged-segment", "stale-segment"}
_INDEXES = {"damaged-index", "unfinished-index"}
_OF_EDITION = ("chunk", "vector", "indexed", "segment", "posting", "tombstone")
_OF_ALL = ("document", "content", "source", "field")


class PgvectorKeeper:
    """See `retrieval.ports.Keeper`. Needs a session of its own, so no PgBouncer in transaction mode."""

    def __init__(self, collections: "PgvectorCollections", collection_key: int, name: str, language: str) -> None:
        self._collections = collections
        self._database = collections.database
        self._schema = collections.schema
        self._key = collection_key
        self._name = name
        self._terms = analyzer(language).terms

    def check(self) -> Iterator[Finding]:
        """At one commit: what others write meanwhile is not looked at."""
        with self._looking() as connection:
            audit = Audit(connection, self._schema, self._key)
            editions = audit.editions()
            yield from audit.shared()
            for one in editions:
                yield from audit.edition(one)
                if one.complete:
                    yield from lexical_audit.check(connection, self._schema, one.number, one.edition_key, self._terms)
                    if fault := self._index_fault(connection, one):
                        yield Finding("damaged-index", f"vector_{one.edition_key}_hnsw", fault, edition=one.number)
        yield from self._unfinished(editions)

    def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        mendable = [finding for finding in findings if not finding.doc_id]
        if not mendable:
            return []
        with self._database.writing() as connection:
            commit = Commit(connection, self._schema, self._key, self._name)
            commit.look(turn=True)
            editions = Audit(connection, self._schema, self._key).editions()
            mending = Mending(connection, self._schema, self._key)
            if without_text := [one.subject for one in mendable if one.kind == "missing-text"]:
                commit.remove_documents(commit.look(turn=True), without_text)
            if incomplete := [one for one in editions if not one.complete]:
                for one in incomplete:
                    mending.make_tables(one.edition_key, one.dimension, token_vectors=bool(one.token_code))
                editions = Audit(connection, self._schema, self._key).editions()
            mending.shared()
            for one in editions:
                mending.edition(one.edition_key)
                mending.rebuild(one.edition_key, _segments(mendable, one.number), self._terms)
            mending.count([one.edition_key for one in editions])
            commit.finish()
        if incomplete:
            self._collections.upkeep.sweep()
        self._rebuild_indexes([one for one in editions if _has(mendable, _INDEXES, one.number)])
        return mendable

    def purge(self) -> None:
        """Rewrites lexical segments that hold dead chunks, drops the tables of dropped editions, vacuums the others.

        From then on no query, dump or replica shows what was deleted, unless a transaction that began before is still
        open anywhere on the server. PostgreSQL itself goes on keeping it in places that no client reaches: bytes of
        removed rows in the free part of a page until another row takes their place (`VACUUM FULL`, which locks a
        table, removes these), the write-ahead log until it is recycled, and whatever archives or backups hold.
        """
        self._collections.upkeep.finish()
        self._collections.upkeep.sweep()
        with self._working() as connection:
            editions = [key for (key,) in connection.execute(self._statement(_EDITION_KEYS), (self._key,))]
            for edition_key in editions:
                lexical_upkeep.bury(connection, self._schema.name, edition_key)
            for table, edition_key in [
                *((table, 0) for table in _OF_ALL),
                *((table, edition_key) for edition_key in editions for table in _OF_EDITION),
            ]:
                connection.execute(self._statement(f"VACUUM (INDEX_CLEANUP ON) {{{table}}}", edition_key))

    def traces(self, needles: Sequence[bytes]) -> list[str]:
        """Tables in which this collection, or an edition that was dropped, has one of `needles` in a row.

        A needle that is a vector, as little-endian single precision, is found among vectors.
        """
        wanted = [*raw.spellings(needles), *_escaped(needles)]
        if not wanted:
            return []
        vectors = [np.frombuffer(needle, "<f4").astype(">f4").tobytes() for needle in needles if len(needle) % 4 == 0]
        with self._looking() as connection:
            own = connection.execute(self._statement(_EDITION_KEYS), (self._key,)).fetchall()
            dropped = connection.execute(self._statement("SELECT edition_key FROM {dropped}")).fetchall()
            places: list[tuple[str, str, int | None]] = [(table, table, self._key) for table in _OF_ALL]
            places += [(table, f"{table}_{key}", None) for (key,) in (*own, *dropped) for table in _OF_EDITION]
            return [
                f"table {self._schema.name}.{name}"
                for table, name, collection_key in places
                if self._holds(connection, table, name, collection_key, wanted, vectors)
            ]

    def close(self) -> None:
        """Nothing to release: connections are those of the collections."""

    def _holds(
        self,
        connection: Connection[Any],
        table: str,
        name: str,
        collection_key: int | None,
        needles: Sequence[bytes],
        vectors: Sequence[bytes],
    ) -> bool:
        columns = connection.execute(_COLUMNS, (self._schema.name, name)).fetchall()
        conditions: list[sql.Composable] = []
        bound: list[object] = []
        for column, kind in columns:
            template = _AS_BYTES[kind].replace("{pgvector}", sql.Identifier(self._schema.extension).as_string(None))
            value = sql.SQL(template).format(sql.Identifier(column))
            for needle in vectors if kind == "vector" else needles:
                conditions.append(sql.SQL("position(%s::bytea IN {}) > 0").format(value))
                bound.append(needle)
        if not conditions:
            return False
        of: sql.Composable = sql.SQL("true")
        if collection_key is not None:
            of = sql.SQL(self._statement(_OF_COLLECTION[table]).decode()).format(sql.Literal(collection_key))
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {} AND ({}))").format(
            sql.Identifier(self._schema.name, name), of, sql.SQL(" OR ").join(conditions)
        )
        [(found,)] = connection.execute(query, bound).fetchall()
        return bool(found)

    def _index_fault(self, connection: Connection[Any], one: EditionRow) -> str:
        """Whether the approximate index, where there is a finished one, finds what is there."""
        if connection.execute(self._statement(_INDEX, one.edition_key)).fetchone() != (True,):
            return ""
        # Without a sequential scan there is one plan that gives rows in this order.
        connection.execute("SET LOCAL enable_seqscan = off")
        connection.execute(f"SET LOCAL hnsw.ef_search = {2 * _PROBES:d}")
        connection.execute("SET LOCAL hnsw.iterative_scan = 'relaxed_order'")  # go on behind dead rows
        keys = connection.execute(self._statement(_SAMPLE, one.edition_key), (_PROBES,)).fetchall()
        nearest = self._statement(
            f"""SELECT embedding OPERATOR({{pgvector}}.<#>) %s::{{pgvector}}.vector FROM {{vector}}
                ORDER BY {dense.distance(one.dimension)} LIMIT {_NEAREST:d}""",  # noqa: S608 - numbers
            one.edition_key,
        )
        hits = 0
        for _, embedding in keys:  # itself or a copy: there may be more of these than are asked for
            found = connection.execute(nearest, (embedding, embedding), prepare=False).fetchall()
            hits += min((distance for (distance,) in found), default=0.0) < _EQUAL
        connection.execute("SET LOCAL enable_seqscan = on")
        return "" if hits >= _FOUND * len(keys) else f"it finds {hits} of {len(keys)} vectors"

    def _unfinished(self, editions: Sequence[EditionRow]) -> Iterator[Finding]:
        """Indexes that a build has left behind and nobody is building; as of now, since a build takes a while."""
        with self._working() as connection:
            for one in editions:
                with connection.transaction():
                    lock = f"pg_try_advisory_xact_lock_shared(hashtextextended(%s, {one.edition_key:d}))"
                    free = connection.execute(f"SELECT {lock}", (f"footnote dense {self._schema.name}",)).fetchone()
                    row = connection.execute(self._statement(_INDEX, one.edition_key)).fetchone()
                if free == (True,) and row == (False,):
                    detail = "a build was cut off; searches compare every vector until it is built"
                    yield Finding("unfinished-index", f"vector_{one.edition_key}_hnsw", detail, edition=one.number)

    def _rebuild_indexes(self, editions: Sequence[EditionRow]) -> None:
        if not editions:
            return
        with self._working() as connection:
            for one in editions:
                connection.execute(self._statement("DROP INDEX CONCURRENTLY IF EXISTS {ann}", one.edition_key))
        for one in editions:
            self._collections.upkeep.soon(one.edition_key)
        self._collections.upkeep.finish()

    @contextmanager
    def _looking(self) -> Iterator[Connection[Any]]:
        """One commit, for as long as it takes."""
        with self._working() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute("SET LOCAL jit = off")
            self._check_still_there(connection)
            yield connection

    @contextmanager
    def _working(self) -> Iterator[Connection[Any]]:
        with self._database.working() as connection:
            connection.answer_timeout = None
            connection.execute("SET statement_timeout = 0")
            connection.execute(f"SET lock_timeout = {self._database.timeout * 1000:.0f}")
            self._check_still_there(connection)
            yield connection

    def _check_still_there(self, connection: Connection[Any]) -> None:
        query = self._statement("SELECT 1 FROM {collection} WHERE collection_key = %s")
        if connection.execute(query, (self._key,)).fetchone() is None:
            raise CollectionNotFound(f"collection {self._name!r} was dropped since it was opened; open it again")

    def _statement(self, template: str, edition_key: int = 0) -> bytes:
        return self._schema.statement(template, edition_key)


def _has(findings: Sequence[Finding], kinds: set[str], edition: int) -> bool:
    return any(finding.kind in kinds and finding.edition == edition for finding in findings)


def _segments(findings: Sequence[Finding], edition: int) -> set[int]:
    """Keys of the lexical segments of an edition that are to be made anew."""
    return {int(one.subject) for one in findings if one.kind in _SEGMENTS and one.edition == edition}


def _escaped(needles: Sequence[bytes]) -> Iterator[bytes]:
    """Needles as `text` stores them, where that is another spelling."""
    for needle in needles:
        if b"\x00" in needle or b"\x01" in needle:
            yield escape(needle.decode("utf-8", "replace")).encode("utf-8")


_EDITION_KEYS = "SELECT edition_key FROM {edition} WHERE collection_key = %s ORDER BY number"
_COLUMNS = """
SELECT a.attname::text, t.typname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND a.attnum > 0 AND NOT a.attisdropped
  AND t.typname IN ('text', 'bytea', 'jsonb', 'vector')
ORDER BY a.attnum
"""
_AS_BYTES = {
    "text": "convert_to(t.{}, 'UTF8')",
    "bytea": "t.{}",
    "jsonb": "convert_to(t.{}::text, 'UTF8')",
    "vector": "{pgvector}.vector_send(t.{})",
}
_OWN = "t.collection_key = {{}}"
_OF_COLLECTION = {
    "document": _OWN,
    "source": _OWN,
    "field": _OWN,
    # What belongs to no document is nobody's, and so looked at as well.
    "content": """NOT EXISTS (SELECT FROM {document} d WHERE d.doc_key = t.doc_key AND d.collection_key <> {{}})""",
}
_INDEX = """
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass({ann_literal})
"""
_SAMPLE = """
SELECT chunk_key, embedding::text FROM {vector}
WHERE chunk_key %% greatest(1, (SELECT count(*) FROM {vector}) / 64) = 0 ORDER BY chunk_key LIMIT %s
"""

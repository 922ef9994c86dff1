"""What is done between commits, by a thread of the process that wrote: nobody waits for it, and a crash costs nothing.

It merges lexical segments, builds the approximate index of an edition that has grown large, refreshes the planner's
statistics, and removes the tables of dropped editions when their last reader has gone. The index is built once, from
the whole table and without locking it; afterwards commits keep it up. All of it belongs to one session, with its
settings and a lock: PgBouncer in transaction mode would scatter them, so processes that write should connect directly.
"""

import logging
import threading
import time
from contextlib import suppress

import psycopg

from retrieval.errors import FootnoteError
from retrieval.stores.pgvector import dense, lexical_upkeep
from retrieval.stores.pgvector.connection import Database, LimitedConnection
from retrieval.stores.pgvector.schema import Schema, drop_edition

_log = logging.getLogger(__name__)

BUILD_CHUNKS = 10_000
"""A closed edition of so many chunks gets an index."""
BUILD_CHUNKS_WHILE_WRITING = 50_000
"""So many are too many to search one by one until the writer is done. Building late is building once and quickly."""
ANALYZE_CHUNKS = 1_000
"""From so many chunks on the planner needs to know how many."""
_M, _EF_CONSTRUCTION = 16, 100
"""Of the graph: neighbours of a node, and how many are weighed to choose them."""
_IDLE = 5.0
"""Seconds for which the thread keeps its connection after the last work."""
_BUILD_MEMORY_MIB = 64, 2048
"""Of maintenance_work_mem for a build: at least, and at most."""
_LOCK_TIMEOUT = "30s"
"""For a build to wait for transactions that began before it; then the next commit tries again."""


class Upkeep:
    """One thread for all collections, alive while there is work. Thread-safe."""

    def __init__(self, database: Database, schema: Schema) -> None:
        self._database = database
        self._schema = schema
        self._changed = threading.Condition()
        self._due: dict[int, None] = {}
        """Editions to look after, in the order in which they were written to."""
        self._finishing = 0
        """How many wait for everything to be done."""
        self._seen: set[int] = set()
        """Editions written to since the last `finish`, which takes a second look at them."""
        self._running = False
        self._working = False
        self._closed = False

    def soon(self, edition_key: int) -> None:
        """An edition was written to."""
        with self._changed:
            self._due[edition_key] = None
            self._seen.add(edition_key)
            self._start()

    def sweep(self) -> None:
        """Remove tables that nobody reads any more; those that somebody reads come later."""
        try:
            with self._database.reading() as (connection, _):
                query = self._schema.statement("SELECT edition_key FROM {dropped} ORDER BY edition_key")
                keys = [key for (key,) in connection.execute(query)]
            for edition_key in keys:
                self._remove(edition_key)
        except FootnoteError as exc:
            _log.warning("tables of dropped editions stay until the next writer comes: %s", exc)

    def finish(self) -> None:
        """Do what is worth doing when writing has come to its end, and wait for it."""
        with self._changed:
            if not self._seen:
                return
            self._due |= dict.fromkeys(self._seen)
            self._seen.clear()
            self._finishing += 1
            self._start()
            try:
                self._changed.wait_for(lambda: not (self._due or self._working))
            finally:
                self._finishing -= 1

    def close(self) -> None:
        """Finish, and let the thread end."""
        self.finish()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start(self) -> None:
        self._closed = False
        self._changed.notify_all()
        if not self._running:
            self._running = True
            threading.Thread(target=self._run, name="footnote-upkeep", daemon=True).start()

    def _run(self) -> None:
        done = False
        try:
            self.sweep()
            with self._database.working() as connection:
                # A role may limit these for queries; locks are waited for by a build only.
                connection.execute("SET statement_timeout = 0")
                connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
                while (edition_key := self._next()) is not None:
                    self._look_after(connection, edition_key)
            done = True
        except FootnoteError as exc:
            _log.warning("the indexes will be seen to after the next commit: %s", exc)
        finally:
            if not done:
                with self._changed:
                    self._running = self._working = False
                    self._due.clear()
                    self._changed.notify_all()

    def _next(self) -> int | None:
        with self._changed:
            self._working = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._due or self._closed, timeout=_IDLE)
            if not self._due:
                self._running = False
                return None
            edition_key = next(iter(self._due))
            del self._due[edition_key]
            self._working = True
            return edition_key

    def _look_after(self, connection: LimitedConnection, edition_key: int) -> None:
        lexical_upkeep.maintain(connection, self._schema.name, edition_key)
        # One process at a time: two that build on one table would wait for each other.
        lock = f"hashtextextended('footnote dense {self._schema.name}', {edition_key:d})"
        (free,) = connection.execute(f"SELECT pg_try_advisory_lock({lock})").fetchone() or (False,)
        if not free:
            return
        try:
            self._look_after_vectors(connection, edition_key)
        except (
            psycopg.errors.UndefinedTable, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected,
        ) as exc:  # fmt: skip
            _log.info("the index of edition %d will be seen to after the next commit: %s", edition_key, exc)
        finally:
            if not connection.closed:
                connection.execute(f"SELECT pg_advisory_unlock({lock})")

    def _look_after_vectors(self, connection: LimitedConnection, edition_key: int) -> None:
        row = connection.execute(self._schema.statement(_STATE, edition_key), (edition_key,)).fetchone()
        if row is None:
            return  # dropped meanwhile
        chunks, dimension, known_rows, valid = row
        enough = BUILD_CHUNKS if self._finishing else BUILD_CHUNKS_WHILE_WRITING
        if valid is not True and chunks >= enough and dimension <= dense.MAX_INDEXED_DIMENSION:
            self._build(connection, edition_key, chunks, dimension)
        if chunks >= ANALYZE_CHUNKS and not 0.7 <= known_rows / chunks <= 1.4:
            # VACUUM besides, so that indexes answer without the tables: autovacuum comes minutes after a bulk load.
            for table in ("{vector}", "{document}", "{chunk}"):
                connection.execute(self._schema.statement(f"VACUUM (ANALYZE) {table}", edition_key))

    def _build(self, connection: LimitedConnection, edition_key: int, chunks: int, dimension: int) -> None:
        """Build the approximate index without locking the table."""
        self._drop_left_over(connection, edition_key)
        # Two bytes a dimension, and the neighbours; a build that does not fit is many times slower.
        needed = chunks * (2 * dimension + 500) * 1.3 / 2**20
        memory = int(min(max(needed, _BUILD_MEMORY_MIB[0]), _BUILD_MEMORY_MIB[1]))
        connection.execute(f"SET maintenance_work_mem = '{memory}MB'")
        create = self._schema.statement(
            "CREATE INDEX CONCURRENTLY {ann_name} ON {vector} USING hnsw "
            f"((embedding::{{pgvector}}.halfvec({dimension:d})) {{pgvector}}.halfvec_ip_ops) "
            f"WITH (m = {_M}, ef_construction = {_EF_CONSTRUCTION})",
            edition_key,
        )
        begin, patience = time.perf_counter(), connection.answer_timeout
        try:
            connection.answer_timeout = None  # it takes as long as it takes
            for workers in ("4", "0"):
                connection.execute(f"SET max_parallel_maintenance_workers = {workers}")
                try:
                    connection.execute(create)
                    break
                except psycopg.errors.DiskFull:
                    # Workers share memory in /dev/shm, of which containers have 64 MB: without them it needs none.
                    if workers == "0":
                        raise
                    self._drop_left_over(connection, edition_key)
        except psycopg.Error:
            with suppress(psycopg.Error):  # or the next build does it
                self._drop_left_over(connection, edition_key)
            raise
        finally:
            connection.answer_timeout = patience
            if not connection.closed:
                connection.execute("RESET maintenance_work_mem")
                connection.execute("RESET max_parallel_maintenance_workers")
        _log.info("indexed %d vectors of edition %d in %.1f s", chunks, edition_key, time.perf_counter() - begin)

    def _drop_left_over(self, connection: LimitedConnection, edition_key: int) -> None:
        """Remove the index that a build left unfinished."""
        connection.execute(self._schema.statement("DROP INDEX CONCURRENTLY IF EXISTS {ann}", edition_key))

    def _remove(self, edition_key: int) -> None:
        """Remove the tables of a dropped edition, unless somebody reads them."""
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT pg_try_advisory_xact_lock(%s, %s::integer)", (self._schema.lock_space, edition_key)
            ).fetchone()
            if row and row[0]:
                connection.execute("SET LOCAL lock_timeout = '2s'")
                drop_edition(connection, self._schema, edition_key)
                connection.execute(
                    self._schema.statement("DELETE FROM {dropped} WHERE edition_key = %s"), (edition_key,)
                )


_STATE = """
SELECT e.chunks, e.dimension, greatest(t.reltuples, 0), i.indisvalid
FROM {edition} e
JOIN pg_class t ON t.oid = to_regclass({vector_literal})
LEFT JOIN pg_index i ON i.indexrelid = to_regclass({ann_literal})
WHERE e.edition_key = %s
"""

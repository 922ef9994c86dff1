"""Collections as rows and tables of one schema; any number of processes read and write them."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import Connection

from retrieval.analysis import analyzer
from retrieval.errors import CollectionExists, CollectionNotFound, WriterBusy
from retrieval.ports import DEFAULT_CHUNKING, Replacement
from retrieval.records import Chunking, EmbedderInfo, SourceRecord
from retrieval.stores.checks import (
    check_complete,
    check_edition,
    check_live,
    check_name,
    check_not_live,
    check_not_live_to_drop,
    check_replacements,
)
from retrieval.stores.pgvector import lexical, rows
from retrieval.stores.pgvector.connection import Database, Row
from retrieval.stores.pgvector.keeper import PgvectorKeeper
from retrieval.stores.pgvector.lexical import LexicalIndex
from retrieval.stores.pgvector.lexical_pages import PageCache
from retrieval.stores.pgvector.passing import PassingCache
from retrieval.stores.pgvector.schema import Schema, create_edition
from retrieval.stores.pgvector.snapshot import PgvectorSnapshot
from retrieval.stores.pgvector.text import unescape
from retrieval.stores.pgvector.upkeep import Upkeep
from retrieval.stores.pgvector.view import Viewer
from retrieval.stores.pgvector.writing import Commit, EditionHead, Head

_KNOWN_EDITIONS = 64
"""Editions whose lexical state a process remembers, those used last."""
_LOOK_AGAIN = 4
"""How often a reader looks again for an edition, when the one it saw was dropped before it could hold it."""


class PgvectorCollections:
    """All collections of one schema, over one pool of connections. Thread-safe.

    `url` is one that libpq reads; a `password_file` is read at each new connection, so that a secret may change.
    `connections`: most that serve reads and writes at a time; upkeep after writing has one more for itself. `timeout`:
    seconds for a connection, for an answer, or for a turn to write. See `connection` about PgBouncer. Nothing is
    connected before it is needed. Raises ConfigError.
    """

    def __init__(self, url: str, *, password_file: Path | None, schema: str, connections: int, timeout: float) -> None:
        self.database = Database(
            url, password_file=password_file, schema=schema, connections=connections, timeout=timeout
        )
        self.schema = Schema(self.database)
        self.upkeep = Upkeep(self.database, self.schema)
        self.passing = PassingCache()
        self._pages = PageCache()
        self._lexical: OrderedDict[int, LexicalIndex] = OrderedDict()
        self._remembering = threading.Lock()

    def names(self) -> list[str]:
        if not self.schema.ready():
            return []
        with self.database.reading() as (connection, _):
            found = connection.execute(self.schema.statement("SELECT name FROM {collection} ORDER BY name"))
            return [name for (name,) in found]

    def create(
        self,
        name: str,
        *,
        embedder: EmbedderInfo,
        chunking: Chunking = DEFAULT_CHUNKING,
        language: str = "english",
        token_code: str = "",
    ) -> None:
        check_name(name)
        analyzer(language)  # refuses a language that is not known
        self.schema.ready(create=True)
        with self.database.writing() as connection:
            try:
                row = connection.execute(self.schema.statement(_CREATE), (name, language)).fetchone()
            except psycopg.errors.UniqueViolation as exc:
                raise CollectionExists(f"collection {name!r} exists already in {self.database.place}") from exc
            assert row  # noqa: S101 - RETURNING
            _add_edition(connection, self.schema, row[0], 1, embedder, chunking, token_code)

    def open(self, name: str, *, writable: bool = False) -> "PgvectorStore":
        collection_key, language = self._find(name)
        return PgvectorStore(self, collection_key, name, language, writable=writable)

    def keeper(self, name: str) -> PgvectorKeeper:
        collection_key, language = self._find(name)
        return PgvectorKeeper(self, collection_key, name, language)

    def _find(self, name: str) -> tuple[int, str]:
        """Key and language of a collection. Raises CollectionNotFound."""
        check_name(name)
        if self.schema.ready():
            query = self.schema.statement("SELECT collection_key, language FROM {collection} WHERE name = %s")
            with self.database.reading((query, (name,))) as (_, rows_):
                row = rows_[0]
            if row:
                return row[0], row[1]
        raise CollectionNotFound(
            f"no collection {name!r} in {self.database.place}; there are: {', '.join(self.names()) or 'none'}"
        )

    def drop(self, name: str) -> None:
        key = self.open(name).collection_key
        with self.database.writing() as connection:
            Commit(connection, self.schema, key, name).look(turn=True)
            for template in _DROP:
                connection.execute(self.schema.statement(template), (key,))
        self.upkeep.sweep()

    def place(self) -> str:
        return f"{self.database.place} ({self.schema.versions()})"

    def close(self) -> None:
        self.upkeep.close()
        self.database.close()

    def lexical_index(self, edition_key: int) -> LexicalIndex:
        """What this process knows of an edition's lexical index, shared by all who have the collection open."""
        with self._remembering:
            index = self._lexical.pop(edition_key, None)
            index = index or LexicalIndex(self.database.schema, edition_key, self._pages)
            self._lexical[edition_key] = index  # the last one now
            if len(self._lexical) > _KNOWN_EDITIONS:
                self._lexical.popitem(last=False)
        return index


class PgvectorStore:
    """See `retrieval.ports.VectorStore`."""

    def __init__(
        self, collections: PgvectorCollections, collection_key: int, name: str, language: str, *, writable: bool
    ) -> None:
        self.collection_key = collection_key
        self.name = name
        self._collections = collections
        self._database = collections.database
        self._schema = collections.schema
        self._terms = analyzer(language).terms
        self._writable = writable
        self._viewer = Viewer(self._database, self._schema, collection_key, name, language)

    @contextmanager
    def snapshot(self, *, edition: int | None = None) -> Iterator[PgvectorSnapshot]:
        for last in (*[False] * _LOOK_AGAIN, True):
            known = self._viewer.known
            with self._database.reading(self._viewer.question(known, edition)) as (connection, (row,)):
                view = self._viewer.view(row, known, edition, last=last)
                if view:
                    yield PgvectorSnapshot(
                        self._database, self._schema, connection, view,
                        self._collections.lexical_index(view.edition_key), self._collections.passing,
                    )  # fmt: skip
                    return

    def replace(self, replacements: Sequence[Replacement], *, edition: int | None = None) -> None:
        with self._write() as (commit, connection):
            head = commit.look(turn=False)
            live = _check_replace(head, edition, replacements)
            commit.stage(replacements, documents=True)
            prepared = lexical.prepare(
                [chunk.indexed_text for one in replacements for chunk in one.chunks], self._terms
            )
            with connection.pipeline():
                head = commit.look(turn=True)
                if head.live != live.number:
                    _check_replace(head, edition, replacements)
                live = head.editions[head.live]
                going = sorted({doc_id for one in replacements for doc_id in one.replaces})
                commit.remove_documents(head, [*going, *(one.document.doc_id for one in replacements)])
                if going:
                    commit.forget(going)
                doc_keys = commit.put_documents(replacements)
                commit.put_chunks(live, replacements, doc_keys, prepared)
                commit.record([one.source for one in replacements if one.source])
                commit.finish()
        self._collections.upkeep.soon(live.edition_key)

    def index(self, replacements: Sequence[Replacement], *, edition: int) -> int:
        with self._write() as (commit, connection):
            one = _check_index(commit.look(turn=False), edition)
            check_replacements(replacements, one.embedder, one.token_code)
            commit.stage(replacements, documents=False)
            prepared = lexical.prepare(
                [chunk.indexed_text for one in replacements for chunk in one.chunks], self._terms
            )
            with connection.pipeline():
                one = _check_index(commit.look(turn=True), edition)
                doc_keys = commit.standing(replacements)
                kept = [given for given, key in zip(replacements, doc_keys, strict=True) if key >= 0]
                if len(kept) < len(replacements):
                    prepared = lexical.prepare(
                        [chunk.indexed_text for one in kept for chunk in one.chunks], self._terms
                    )
                commit.remove_chunks(one, doc_keys)
                commit.put_chunks(one, replacements, doc_keys, prepared)
                commit.finish()
        self._collections.upkeep.soon(one.edition_key)
        return len(kept)

    def delete(self, doc_ids: Sequence[str], *, leave: Sequence[SourceRecord] = ()) -> list[str]:
        with self._write() as (commit, _):
            head = commit.look(turn=True)
            gone = commit.remove_documents(head, doc_ids)
            if commit.forget(doc_ids) or gone or leave:
                commit.record(leave)
                commit.finish()
        for edition in head.editions.values() if gone else ():
            self._collections.upkeep.soon(edition.edition_key)
        return sorted(map(unescape, gone))

    def record(self, sources: Sequence[SourceRecord]) -> None:
        with self._write() as (commit, _):
            commit.look(turn=True)
            commit.record(sources)
            commit.finish()

    def add_edition(self, *, embedder: EmbedderInfo, chunking: Chunking, token_code: str = "") -> int:
        with self._write() as (commit, connection):
            number = commit.look(turn=True).last_edition + 1
            _add_edition(connection, self._schema, self.collection_key, number, embedder, chunking, token_code)
            commit.finish(last_edition=number)
        return number

    def switch(self, edition: int) -> None:
        with self._write() as (commit, _):
            head = commit.look(turn=True)
            check_edition(edition, head.editions)
            check_complete(edition, head.documents - head.editions[edition].documents)
            commit.finish(live=edition)

    def drop_edition(self, edition: int) -> None:
        with self._write() as (commit, connection):
            head = commit.look(turn=True)
            check_edition(edition, head.editions)
            check_not_live_to_drop(edition, head.live)
            connection.execute(self._schema.statement(_DROP_EDITION), (self.collection_key, edition))
            commit.finish()
        self._collections.upkeep.sweep()

    def close(self) -> None:
        if self._writable:
            self._collections.upkeep.finish()

    @contextmanager
    def _write(self) -> Iterator[tuple[Commit, Connection[Row]]]:
        if not self._writable:
            raise WriterBusy(f"collection {self.name!r} was opened for reading; open it with writable=True")
        with self._database.writing() as connection:
            yield Commit(connection, self._schema, self.collection_key, self.name), connection


def _add_edition(
    connection: Connection[Row],
    schema: Schema,
    collection_key: int,
    number: int,
    embedder: EmbedderInfo,
    chunking: Chunking,
    token_code: str,
) -> None:
    """An empty edition with its tables."""
    texts = rows.edition_texts(embedder, chunking)
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    row = connection.execute(
        schema.statement(_ADD_EDITION), (collection_key, number, embedder.dimension, *texts, created_at, token_code)
    ).fetchone()
    assert row  # noqa: S101 - RETURNING
    create_edition(connection, schema, row[0], embedder.dimension, token_vectors=bool(token_code))


def _check_replace(head: Head, edition: int | None, replacements: Sequence[Replacement]) -> EditionHead:
    check_live(edition, head.live)
    live = head.editions[head.live]
    check_replacements(replacements, live.embedder, live.token_code)
    return live


def _check_index(head: Head, edition: int) -> EditionHead:
    check_edition(edition, head.editions)
    check_not_live(edition, head.live)
    return head.editions[edition]


_CREATE = """
INSERT INTO {collection} (name, language, live, last_edition, sequence, documents)
VALUES (%s, %s, 1, 1, 0, 0) RETURNING collection_key
"""
_ADD_EDITION = """
INSERT INTO {edition} (collection_key, number, dimension, embedder, chunking, created_at, token_code, documents, chunks,
                       last_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, 0, 0, 0) RETURNING edition_key
"""
_DROP_EDITION = """
WITH gone AS (DELETE FROM {edition} WHERE collection_key = %s AND number = %s RETURNING edition_key)
INSERT INTO {dropped} SELECT edition_key FROM gone
"""
_DROP = (
    """WITH gone AS (DELETE FROM {edition} WHERE collection_key = %s RETURNING edition_key)
       INSERT INTO {dropped} SELECT edition_key FROM gone""",
    "DELETE FROM {content} t USING {document} d WHERE d.doc_key = t.doc_key AND d.collection_key = %s",
    "DELETE FROM {document} WHERE collection_key = %s",
    "DELETE FROM {source} WHERE collection_key = %s",
    "DELETE FROM {field} WHERE collection_key = %s",
    "DELETE FROM {collection} WHERE collection_key = %s",
)

"""All reading: one view of a collection in one REPEATABLE READ transaction, in as few round trips as it takes."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from psycopg import Connection

from retrieval.errors import DocumentNotFound, StoreCorrupt
from retrieval.filters import Filter
from retrieval.ports import Replacement, Vectors
from retrieval.records import (
    CollectionInfo,
    Document,
    DocumentInfo,
    Hit,
    SourceRecord,
    SourceStatus,
    StoredChunk,
    TermScores,
)
from retrieval.stores.checks import check_query_vector
from retrieval.stores.pgvector import arrays, dense, filter_sql, rows
from retrieval.stores.pgvector.arrays import BigintArray
from retrieval.stores.pgvector.connection import Database, Row
from retrieval.stores.pgvector.lexical import LexicalIndex
from retrieval.stores.pgvector.passing import Passing, PassingCache
from retrieval.stores.pgvector.schema import Schema
from retrieval.stores.pgvector.text import escape, unescape
from retrieval.stores.pgvector.view import View

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _translated(
    method: Callable[Concatenate["PgvectorSnapshot", _P], _T],
) -> Callable[Concatenate["PgvectorSnapshot", _P], _T]:
    @functools.wraps(method)
    def wrapper(self: "PgvectorSnapshot", *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self.database.translated():
            return method(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]  # `wraps` forgets that it is a method


class PgvectorSnapshot:
    """See `retrieval.ports.Snapshot`."""

    def __init__(
        self,
        database: Database,
        schema: Schema,
        connection: Connection[Row],
        view: View,
        lexical: LexicalIndex,
        passing: PassingCache,
    ) -> None:
        self.database = database
        self._schema = schema
        self._connection = connection
        self._view = view
        self._lexical = lexical
        self._dense = dense.DenseSearch(
            connection, schema, view.edition_key, view.info.embedder.dimension, view.info.chunks,
            view.has_index,
        )  # fmt: skip
        self._passing = passing

    @property
    def info(self) -> CollectionInfo:
        return self._view.info

    @_translated
    def search_dense(self, vector: Vectors, *, k: int, filter: Filter | None = None) -> list[Hit]:
        check_query_vector(vector, self.info.embedder)
        return self._dense.search(vector, k, None if filter is None else self._let_through(filter))

    @_translated
    def search_lexical(self, terms: Mapping[str, float], *, k: int, filter: Filter | None = None) -> list[Hit]:
        if not terms:
            return []
        allowed = None if filter is None else self._let_through(filter).chunk_keys
        keys, scores = self._lexical.search(self._connection, self.info.sequence, terms, k, allowed)
        found = self._run("SELECT chunk_key, chunk_id FROM {chunk} WHERE chunk_key = ANY(%s)", BigintArray(keys))
        if len(found) < len(keys):
            raise StoreCorrupt(
                f"{self.database.place}: the lexical index of collection {self.info.name!r} names chunks that are not "
                f"in table chunk_{self._view.edition_key}: `footnote doctor --repair` mends it; if the database "
                "went back in time, restart this process"
            )
        chunk_ids = {key: unescape(chunk_id) for key, chunk_id in found}
        hits = [Hit(chunk_ids[key], score) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))[:k]

    @_translated
    def term_scores(self, terms: Mapping[str, float], chunk_ids: Sequence[str]) -> TermScores:
        found = self._run(
            "SELECT chunk_id, chunk_key FROM {chunk} WHERE chunk_id = ANY(%s)",
            [escape(chunk_id) for chunk_id in chunk_ids],
        )
        by_id = {unescape(chunk_id): key for chunk_id, key in found}
        keys = np.array([by_id[chunk_id] for chunk_id in chunk_ids], dtype=np.int64)
        return self._lexical.term_scores(self._connection, self.info.sequence, terms, keys)

    @_translated
    def chunks(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        found = {
            stored.chunk.chunk_id: stored
            for stored in map(
                rows.stored_chunk,
                self._run(
                    f"""SELECT {rows.CHUNK_COLUMNS}, {rows.INFO_COLUMNS}
                        FROM {{chunk}} c JOIN {{document}} d USING (doc_key) WHERE c.chunk_id = ANY(%s)""",  # noqa: S608 - ours
                    str(self._view.collection_key),
                    [escape(chunk_id) for chunk_id in chunk_ids],
                ),
            )
        }
        return [found[chunk_id] for chunk_id in chunk_ids if chunk_id in found]

    @_translated
    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        found = self._run(
            """SELECT c.chunk_id, {pgvector}.vector_send(v.embedding)
               FROM {chunk} c JOIN {vector} v USING (chunk_key) WHERE c.chunk_id = ANY(%s)""",
            [escape(chunk_id) for chunk_id in chunk_ids],
            binary=True,
        )
        sent = {unescape(chunk_id): value for chunk_id, value in found}
        return arrays.vectors_of([sent[chunk_id] for chunk_id in chunk_ids], self.info.embedder.dimension)

    @_translated
    def token_vectors(self, chunk_ids: Sequence[str]) -> list[bytes]:
        found = self._run(
            f"""SELECT c.chunk_id, coalesce({self._token_vectors}, '')
                FROM {{chunk}} c JOIN {{vector}} v USING (chunk_key) WHERE c.chunk_id = ANY(%s)""",  # noqa: S608 - ours
            [escape(chunk_id) for chunk_id in chunk_ids],
            binary=True,
        )
        sent = {unescape(chunk_id): blob for chunk_id, blob in found}
        return [sent[chunk_id] for chunk_id in chunk_ids]

    @_translated
    def document(self, doc_id: str) -> Document:
        found = self._run(
            f"""SELECT {rows.INFO_COLUMNS}, t.text, t.elements FROM {{document}} d JOIN {{content}} t USING (doc_key)
                WHERE d.collection_key = %s AND d.doc_id = %s""",  # noqa: S608 - ours
            str(self._view.collection_key), self._view.collection_key, escape(doc_id),
        )  # fmt: skip
        if not found:
            raise DocumentNotFound(f"no document {doc_id!r} in collection {self.info.name!r}")
        return rows.document(found[0])

    @_translated
    def documents(
        self, *, filter: Filter | None = None, after: str = "", limit: int = 100, unindexed: bool = False
    ) -> list[DocumentInfo]:
        sql, bound = self._condition(filter)
        if unindexed:
            sql += " AND NOT EXISTS (SELECT FROM {indexed} i WHERE i.doc_key = d.doc_key)"
        found = self._run(
            f"""SELECT {rows.INFO_COLUMNS} FROM {{document}} d
                WHERE d.collection_key = %s AND d.doc_id > %s AND {sql} ORDER BY d.doc_id LIMIT %s""",  # noqa: S608 - ours
            str(self._view.collection_key), self._view.collection_key, escape(after), *bound, limit,
        )  # fmt: skip
        return [rows.document_info(row) for row in found]

    @_translated
    def contents(self, doc_ids: Sequence[str]) -> list[Replacement]:
        bound = str(self._view.collection_key), self._view.collection_key, [escape(doc_id) for doc_id in doc_ids]
        documents = self._run(
            f"""SELECT {rows.INFO_COLUMNS}, t.text, t.elements, d.doc_key
                FROM {{document}} d JOIN {{content}} t USING (doc_key)
                WHERE d.collection_key = %s AND d.doc_id = ANY(%s)""",  # noqa: S608 - ours
            *bound,
        )
        chunks = self._run(
            f"""SELECT {rows.CHUNK_COLUMNS}, {{pgvector}}.vector_send(v.embedding), {self._token_vectors}, c.doc_key
                FROM {{chunk}} c JOIN {{vector}} v USING (chunk_key)
                WHERE c.doc_key = ANY(%s) ORDER BY c.doc_key, c.ordinal""",  # noqa: S608 - ours
            BigintArray(np.array([row[-1] for row in documents], dtype=np.int64)),
            binary=True,
        )
        lines = {
            line.doc_id: line
            for line in map(
                rows.source,
                self._run(f"{_SOURCES} AND doc_id = ANY(%s) ORDER BY source_uri", *bound[1:]),
            )
        }
        by_document: dict[int, list[Row]] = {}
        for row in chunks:
            by_document.setdefault(row[-1], []).append(row)
        found = {}
        for row in documents:
            document, parts = rows.document(row), by_document.get(row[-1], [])
            found[document.doc_id] = Replacement(
                document,
                [rows.chunk(part[:8], document.doc_id, row[1]) for part in parts],
                arrays.vectors_of([part[8] for part in parts], self.info.embedder.dimension),
                lines.get(document.doc_id),
                token_vectors=self._blobs(document.doc_id, [part[9] for part in parts]),
            )
        return [found[doc_id] for doc_id in doc_ids if doc_id in found]

    @_translated
    def sources(
        self,
        *,
        uris: Sequence[str] | None = None,
        status: SourceStatus | None = None,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> list[SourceRecord]:
        wanted = None if uris is None else [escape(uri) for uri in uris]
        found = self._run(
            f"""{_SOURCES} AND (%s::text[] IS NULL OR source_uri = ANY(%s::text[]))
                AND (%s::text IS NULL OR status = %s)
                AND starts_with(source_uri, %s) AND source_uri >= %s AND source_uri > %s
                ORDER BY source_uri LIMIT %s""",
            self._view.collection_key, wanted, wanted, status, status,
            escape(prefix), escape(prefix), escape(after), limit,
        )  # fmt: skip
        return [rows.source(row) for row in found]

    @property
    def _token_vectors(self) -> str:
        """As selected from `vector v`, which has them where the edition keeps some."""
        return "v.token_vectors" if self.info.edition.token_code else "NULL::bytea"

    def _blobs(self, doc_id: str, found: Sequence[bytes | None]) -> list[bytes]:
        if not self.info.edition.token_code:
            return []
        blobs = [blob for blob in found if blob]
        if len(blobs) < len(found):
            raise StoreCorrupt(
                f"{self.database.place}: document {doc_id!r} lacks token vectors in edition {self.info.edition.number} "
                f"of collection {self.info.name!r}; `footnote doctor --repair` makes them again"
            )
        return blobs

    def _let_through(self, filter: Filter) -> Passing:
        return self._passing.get(self._view.edition_key, self.info.sequence, filter, lambda: self._find_passing(filter))

    def _find_passing(self, filter: Filter) -> Passing:
        sql, bound = self._condition(filter)
        (sent,) = self._run(
            f"""SELECT string_agg(int8send(i.doc_key) || int8send(i.first_key) || int8send(i.chunks), '')
                FROM {{document}} d JOIN {{indexed}} i USING (doc_key) WHERE d.collection_key = %s AND {sql}""",  # noqa: S608 - `filter_sql` binds all values
            self._view.collection_key, *bound, binary=True,
        )  # fmt: skip
        return Passing(arrays.keys_of(sent[0]).reshape(-1, 3))

    def _condition(self, filter: Filter | None) -> tuple[str, list[object]]:
        return ("TRUE", []) if filter is None else filter_sql.condition(filter, self._view.collection_key)

    def _run(self, template: str, *bound: object, binary: bool = False) -> list[Any]:
        query = self._schema.statement(template, self._view.edition_key)
        return self._connection.execute(query, bound, binary=binary).fetchall()


_SOURCES = """
SELECT source_uri, status, doc_id, content_hash, fingerprint, size, media_type, chunks, error, recorded_at, reason,
       validator, parent, version, pages, attempts, seconds
FROM {source} WHERE collection_key = %s
"""

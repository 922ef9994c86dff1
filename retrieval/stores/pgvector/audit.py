"""Do the tables of a collection agree with each other? Asked of the server, which looks at one commit.

Each question is a query that finds what is wrong; what is right costs no more than its scan.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from retrieval.ports import Finding
from retrieval.stores.checks import NORM_TOLERANCE, missing_token_vectors
from retrieval.stores.pgvector.schema import Schema
from retrieval.stores.pgvector.text import unescape


@dataclass(frozen=True, slots=True)
class EditionRow:
    """An edition of the collection, held so that nobody removes its tables."""

    number: int
    edition_key: int
    dimension: int
    documents: int
    chunks: int
    last_key: int
    complete: bool
    """Whether all of its tables are there."""
    token_code: str


class Audit:
    """Looks at one collection within a transaction."""

    def __init__(self, connection: Connection[Any], schema: Schema, collection_key: int) -> None:
        self._connection = connection
        self._schema = schema
        self._key = collection_key

    def editions(self) -> list[EditionRow]:
        """By number; one that somebody drops at this moment is left out."""
        held = self._run(_HELD, self._schema.lock_space, self._key)
        keys = [edition_key for edition_key, is_held in held if is_held]
        return [EditionRow(*row) for row in self._run(_EDITIONS, self._schema.name, keys)]

    def shared(self) -> Iterator[Finding]:
        """What is wrong in the tables that all collections share."""
        for (doc_id,) in self._run(_WITHOUT_TEXT, self._key):
            detail = (
                "its text is not there, so that nothing can be made of it; it will be removed, to be ingested again"
            )
            yield Finding("missing-text", unescape(doc_id), detail)
        for table, condition in SHARED_ORPHANS.items():
            yield from self._orphans(table, condition)
        [(said, there)] = self._run(_DOCUMENTS, self._key)
        if said != there:
            yield Finding("wrong-count", "documents", f"the collection counts {said:,} documents and holds {there:,}")
        for name, said, there in self._run(FIELD_DIFFERENCES, self._key, self._key, str(self._key)):
            detail = f"{said:,} documents are counted that have this field, and {there:,} have it"
            yield Finding("wrong-count", f"field {unescape(name)!r}", detail)
        [(said, there)] = self._run(_LAST_EDITION, self._key)
        if there is not None and said < there:
            detail = f"the last edition's number is said to be {said}, but there is {there}"
            yield Finding("wrong-sequence", "last_edition", detail)
        for (table,) in self._run(ORPHAN_TABLES, self._schema.name):
            yield Finding("orphan-table", table, "a table of an edition that is not there")

    def edition(self, one: EditionRow) -> Iterator[Finding]:
        """What is wrong in the tables of an edition, but for its lexical index."""
        number, key = one.number, one.edition_key
        if not one.complete:
            detail = f"tables of edition {number} (chunk_{key} and its like) are missing; they will be made empty"
            yield Finding("missing-tables", f"edition {number}", detail, edition=number)
            return
        for table, condition in EDITION_ORPHANS.items():
            yield from self._orphans(table, condition, one)
        for doc_id, said, there in self._run(_MISSING_CHUNKS, edition_key=key):
            detail = f"{there:,} of its {said:,} chunks are where they should be"
            yield Finding("missing-chunks", unescape(doc_id), detail, doc_id=unescape(doc_id), edition=number)
        for doc_id, chunk_id in self._run(_MISSING_VECTORS, edition_key=key):
            detail = "it has no vector"
            yield Finding("missing-vector", unescape(chunk_id), detail, doc_id=unescape(doc_id), edition=number)
        for doc_id, chunk_id, length in self._run(_WRONG_VECTORS, NORM_TOLERANCE, edition_key=key):
            detail = f"its vector has length {length:.4f}, not 1"
            yield Finding("wrong-vector", unescape(chunk_id), detail, doc_id=unescape(doc_id), edition=number)
        if one.token_code:
            for doc_id, chunk_id in self._run(_MISSING_BLOBS, edition_key=key):
                yield missing_token_vectors(unescape(chunk_id), unescape(doc_id), number)
        yield from self._numbers(one)

    def _numbers(self, one: EditionRow) -> Iterator[Finding]:
        [(documents, chunks, last_key)] = self._run(_NUMBERS, edition_key=one.edition_key)
        for what, said, there in (("documents", one.documents, documents), ("chunks", one.chunks, chunks)):
            if said != there:
                detail = f"edition {one.number} counts {said:,} {what} and holds {there:,}"
                yield Finding("wrong-count", f"edition {one.number}: {what}", detail, edition=one.number)
        if last_key > one.last_key:
            detail = f"the last key given is {one.last_key}, but {last_key} is in use"
            yield Finding("wrong-sequence", f"edition {one.number}: last_key", detail, edition=one.number)

    def _orphans(self, table: str, condition: str, one: EditionRow | None = None) -> Iterator[Finding]:
        sql = f"SELECT count(*) FROM {{{table}}} t WHERE {condition}"  # noqa: S608 - literals of ours
        [(count,)] = self._run(sql, edition_key=one.edition_key if one else 0)
        if count:
            name = f"{table}_{one.edition_key}" if one else table
            detail = f"{count:,} rows of table {name} belong to nothing that is there"
            yield Finding("orphan-rows", name, detail, edition=one.number if one else None)

    def _run(self, template: str, *bound: object, edition_key: int = 0) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._schema.statement(template, edition_key), bound).fetchall()


_HELD = """
SELECT edition_key, pg_try_advisory_xact_lock_shared(%s, edition_key::integer)
FROM {edition} WHERE collection_key = %s
"""
_EDITIONS = """
SELECT e.number, e.edition_key, e.dimension, e.documents, e.chunks, e.last_key, (
    SELECT bool_and(to_regclass(format('%%I.%%s_%%s', %s::text, name, e.edition_key)) IS NOT NULL)
    FROM unnest(ARRAY['chunk', 'vector', 'indexed', 'segment', 'posting', 'tombstone']) AS name), e.token_code
FROM {edition} e WHERE e.edition_key = ANY(%s) ORDER BY e.number
"""
_WITHOUT_TEXT = """
SELECT doc_id FROM {document} d
WHERE collection_key = %s AND NOT EXISTS (SELECT FROM {content} t WHERE t.doc_key = d.doc_key)
"""
_DOCUMENTS = """
SELECT c.documents, (SELECT count(*) FROM {document} d WHERE d.collection_key = c.collection_key)
FROM {collection} c WHERE c.collection_key = %s
"""
_LAST_EDITION = """
SELECT c.last_edition, (SELECT max(e.number) FROM {edition} e WHERE e.collection_key = c.collection_key)
FROM {collection} c WHERE c.collection_key = %s
"""
FIELD_DIFFERENCES = """
SELECT name, coalesce(said.documents, 0), coalesce(held.documents, 0)
FROM (SELECT name, documents FROM {field} WHERE collection_key = %s) said
FULL JOIN (
    SELECT one.key COLLATE "C" AS name, count(*) AS documents
    FROM {document} d, jsonb_each(d.metadata -> d.collection_key::text) one
    WHERE d.collection_key = %s AND d.metadata ? %s AND one.value <> '[]' GROUP BY one.key) held USING (name)
WHERE coalesce(said.documents, 0) <> coalesce(held.documents, 0)
"""
_ABSENT = "NOT EXISTS (SELECT FROM {collection} c WHERE c.collection_key = t.collection_key)"
SHARED_ORPHANS = {
    "edition": _ABSENT,
    "document": _ABSENT,
    "source": _ABSENT,
    "field": _ABSENT,
    "content": "NOT EXISTS (SELECT FROM {document} d WHERE d.doc_key = t.doc_key)",
}
"""Which rows `t` of each table belong to nothing, whatever collection they were of; in the order of their removal."""
EDITION_ORPHANS = {
    "indexed": "NOT EXISTS (SELECT FROM {document} d WHERE d.doc_key = t.doc_key)",
    "chunk": """NOT EXISTS (SELECT FROM {indexed} i WHERE i.doc_key = t.doc_key
                AND t.chunk_key >= i.first_key AND t.chunk_key < i.first_key + i.chunks)""",
    "vector": "NOT EXISTS (SELECT FROM {chunk} c WHERE c.chunk_key = t.chunk_key AND c.doc_key = t.doc_key)",
    "tombstone": "EXISTS (SELECT FROM {chunk} c WHERE c.chunk_key = t.chunk_key)",
}
ORPHAN_TABLES = """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' AND c.relname ~ '^(chunk|vector|indexed|segment|posting|tombstone)_[0-9]+$'
  AND substring(c.relname from '[0-9]+$')::bigint NOT IN (
      SELECT edition_key FROM {edition} UNION ALL SELECT edition_key FROM {dropped})
ORDER BY c.relname
"""
_MISSING_CHUNKS = """
SELECT d.doc_id, i.chunks, count(c.chunk_key)
FROM {indexed} i JOIN {document} d USING (doc_key)
LEFT JOIN {chunk} c ON c.doc_key = i.doc_key AND c.chunk_key = i.first_key + c.ordinal AND c.ordinal < i.chunks
GROUP BY d.doc_id, i.chunks HAVING count(c.chunk_key) <> i.chunks
"""
_MISSING_VECTORS = """
SELECT d.doc_id, c.chunk_id FROM {chunk} c JOIN {document} d USING (doc_key)
WHERE NOT EXISTS (SELECT FROM {vector} v WHERE v.chunk_key = c.chunk_key AND v.doc_key = c.doc_key)
"""
_WRONG_VECTORS = """
SELECT d.doc_id, c.chunk_id, {pgvector}.vector_norm(v.embedding)
FROM {vector} v JOIN {chunk} c USING (chunk_key) JOIN {document} d ON d.doc_key = c.doc_key
WHERE abs({pgvector}.vector_norm(v.embedding) - 1) > %s
"""
# Those of a chunk that has no vector are not missed apart from it.
_MISSING_BLOBS = """
SELECT d.doc_id, c.chunk_id
FROM {vector} v JOIN {chunk} c USING (chunk_key) JOIN {document} d ON d.doc_key = c.doc_key
WHERE coalesce(length(v.token_vectors), 0) = 0
"""
_NUMBERS = """
SELECT (SELECT count(*) FROM {indexed}), (SELECT coalesce(sum(chunks), 0)::bigint FROM {indexed}),
       greatest((SELECT max(chunk_key) FROM {chunk}), (SELECT max(first_key + chunks - 1) FROM {indexed}), 0)
"""

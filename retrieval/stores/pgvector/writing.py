"""What a commit consists of. Each function works within the transaction of a writer.

Slow things come first: a writer copies its rows into temporary tables before it waits for its turn, which is the lock
of the collection's row. Whoever holds it sees all earlier commits and is seen by all later ones, so keys of chunks grow
from commit to commit.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import Connection

from retrieval.errors import CollectionNotFound
from retrieval.ports import Replacement
from retrieval.records import EmbedderInfo, SourceRecord
from retrieval.stores.pgvector import arrays, lexical, rows
from retrieval.stores.pgvector.arrays import BigintArray, Keys
from retrieval.stores.pgvector.schema import Schema
from retrieval.stores.pgvector.text import escape
from retrieval.stores.postings import Postings

_HEAD = """
SELECT live, last_edition, sequence, documents, (SELECT max(version) FROM {footnote_migration})
FROM {collection} WHERE collection_key = %s
"""
_EDITIONS = """
SELECT number, edition_key, embedder, documents, chunks, last_key, token_code FROM {edition} WHERE collection_key = %s
"""


@dataclass(frozen=True, slots=True)
class EditionHead:
    """An edition as it stands before a commit."""

    number: int
    edition_key: int
    embedder: EmbedderInfo
    documents: int
    chunks: int
    last_key: int
    """The greatest key ever given to one of its chunks."""
    token_code: str


@dataclass(frozen=True, slots=True)
class Head:
    """A collection as it stands before a commit."""

    live: int
    last_edition: int
    sequence: int
    documents: int
    editions: Mapping[int, EditionHead]


class Commit:
    """One transaction that writes to one collection."""

    def __init__(self, connection: Connection[Any], schema: Schema, collection_key: int, name: str) -> None:
        self._connection = connection
        self._schema = schema
        self._collection_key = collection_key
        self._name = name

    def look(self, *, turn: bool) -> Head:
        """How the collection stands; with `turn`, once all earlier commits are done, until this one is.

        Raises CollectionNotFound, StoreTooNew.
        """
        found = self._run(_HEAD + (" FOR UPDATE" if turn else ""), self._collection_key).fetchone()
        if found is None:
            raise CollectionNotFound(f"collection {self._name!r} was dropped since it was opened; open it again")
        self._schema.check_version(found[4])
        # A statement of its own: this one sees what was committed while the first one waited.
        editions = [
            EditionHead(number, edition_key, EmbedderInfo(**json.loads(embedder)), *rest)
            for number, edition_key, embedder, *rest in self._run(_EDITIONS, self._collection_key)
        ]
        live, last_edition, sequence, documents, _ = found
        return Head(live, last_edition, sequence, documents, {edition.number: edition for edition in editions})

    def stage(self, replacements: Sequence[Replacement], *, documents: bool) -> None:
        """Copy chunks and vectors, and with `documents` these, into temporary tables, numbered by their place."""
        self._run(_STAGE_DOCUMENT)
        self._run(_STAGE_CHUNK)
        with self._connection.cursor() as cursor:
            if documents:
                with cursor.copy("COPY pg_temp.footnote_document FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(["int4", *["text"] * 5, "int4", *["text"] * 4])
                    for i, one in enumerate(replacements):
                        copy.write_row((i, *rows.document_row(one.document, self._collection_key)))
            with cursor.copy("COPY pg_temp.footnote_chunk FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "text", *["int4"] * 3, "text", "int4", "text", "text", "vector", "bytea"])
                for i, one in enumerate(replacements):
                    blobs: Sequence[bytes | None] = one.token_vectors or [None] * len(one.chunks)
                    for chunk, vector, blob in zip(one.chunks, one.vectors, blobs, strict=True):
                        copy.write_row((i, *rows.chunk_row(chunk), vector, blob))

    def put_documents(self, replacements: Sequence[Replacement]) -> Keys:
        """Put the staged documents, whose former versions are removed already; their keys in order."""
        found = self._run(_PUT_DOCUMENTS, self._collection_key).fetchall()
        by_place = dict(found)
        names = [name for one in replacements for name in rows.field_names(one.document.metadata)]
        self._count_fields(names, 1)
        self._run(
            "UPDATE {collection} SET documents = documents + %s WHERE collection_key = %s",
            len(replacements), self._collection_key,
        )  # fmt: skip
        return np.array([by_place[i] for i in range(len(replacements))], dtype=np.int64)

    def put_chunks(
        self, edition: EditionHead, replacements: Sequence[Replacement], doc_keys: Keys, prepared: Postings
    ) -> None:
        """Put the staged chunks into an edition. A document whose key is -1 is passed over, with its chunks."""
        counts = np.array([len(one.chunks) for one in replacements], dtype=np.int64)
        kept = doc_keys >= 0
        first = edition.last_key + 1 + np.cumsum(np.where(kept, counts, 0)) - counts
        places, document_keys, first_keys = (
            BigintArray(values[kept]) for values in (np.arange(len(doc_keys)), doc_keys, first)
        )
        self._run(_PUT_INDEXED, document_keys, first_keys, BigintArray(counts[kept]), edition_key=edition.edition_key)
        total = int(counts[kept].sum())
        if total:
            put_vectors = _PUT_VECTORS_AND_TOKENS if edition.token_code else _PUT_VECTORS
            self._run(_PUT_CHUNKS + put_vectors, places, document_keys, first_keys, edition_key=edition.edition_key)
            keys = np.arange(edition.last_key + 1, edition.last_key + 1 + total, dtype=np.int64)
            lexical.add(self._connection, self._schema.name, edition.edition_key, keys, prepared)
        self._count(edition, documents=int(kept.sum()), chunks=total, last_key=edition.last_key + total)

    def remove_documents(self, head: Head, doc_ids: Collection[str]) -> list[str]:
        """Remove documents with their chunks in all editions; returns the ids that were there, escaped."""
        found = self._run(
            _REMOVE_DOCUMENTS, self._collection_key, [escape(doc_id) for doc_id in doc_ids], str(self._collection_key)
        ).fetchall()
        if found:
            doc_keys = np.array([doc_key for doc_key, _, _ in found], dtype=np.int64)
            self._run("DELETE FROM {content} WHERE doc_key = ANY(%s)", BigintArray(doc_keys))
            self._count_fields([name for _, _, names in found for name in names], -1)
            self._run(
                "UPDATE {collection} SET documents = documents - %s WHERE collection_key = %s",
                len(found), self._collection_key,
            )  # fmt: skip
            for edition in head.editions.values():
                self.remove_chunks(edition, doc_keys)
        return [doc_id for _, doc_id, _ in found]

    def remove_chunks(self, edition: EditionHead, doc_keys: Keys) -> None:
        """Take documents out of an edition."""
        found = self._run(_REMOVE_INDEXED, BigintArray(doc_keys), edition_key=edition.edition_key).fetchall()
        keys = arrays.ranges(np.array(found, dtype=np.int64).reshape(-1, 2))
        for template in (
            "DELETE FROM {chunk} WHERE chunk_key = ANY(%s)",
            "DELETE FROM {vector} WHERE chunk_key = ANY(%s)",
        ):
            self._run(template, BigintArray(keys), edition_key=edition.edition_key)
        lexical.bury(self._connection, self._schema.name, edition.edition_key, keys)
        self._count(edition, documents=-len(found), chunks=-len(keys), last_key=edition.last_key)

    def standing(self, replacements: Sequence[Replacement]) -> Keys:
        """Keys of the documents that are stored as they are here; -1 for what was deleted or replaced since."""
        found = self._run(
            "SELECT doc_id, version, title, doc_key FROM {document} WHERE collection_key = %s AND doc_id = ANY(%s)",
            self._collection_key, [escape(one.document.doc_id) for one in replacements],
        )  # fmt: skip
        stored = {(doc_id, version, title): doc_key for doc_id, version, title, doc_key in found}
        documents = [one.document for one in replacements]
        return np.array(
            [stored.get((escape(one.doc_id), one.version, escape(one.title)), -1) for one in documents], dtype=np.int64
        )

    def record(self, sources: Sequence[SourceRecord]) -> None:
        """Write ledger lines, each in the place of the former one of its source."""
        lines = {source.source_uri: rows.source_row(source) for source in sources}
        if lines:
            self._run(_RECORD, self._collection_key, *map(list, zip(*lines.values(), strict=True)))

    def forget(self, doc_ids: Collection[str]) -> int:
        """Remove the ledger lines of documents; returns how many there were."""
        cursor = self._run(
            "DELETE FROM {source} WHERE collection_key = %s AND doc_id = ANY(%s)",
            self._collection_key,
            [escape(doc_id) for doc_id in doc_ids],
        )
        return int(cursor.rowcount)  # fmt: skip

    def finish(self, **columns: int) -> None:
        """The last statement of a commit that has changed something: one more in the sequence."""
        more = "".join(f", {name} = %s" for name in columns)
        self._run(
            f"UPDATE {{collection}} SET sequence = sequence + 1{more} WHERE collection_key = %s",  # noqa: S608 - names of ours
            *columns.values(), self._collection_key,
        )  # fmt: skip

    def _count(self, edition: EditionHead, *, documents: int, chunks: int, last_key: int) -> None:
        self._run(
            """UPDATE {edition} SET documents = documents + %s, chunks = chunks + %s, last_key = greatest(last_key, %s)
               WHERE edition_key = %s""",
            documents, chunks, last_key, edition.edition_key,
        )  # fmt: skip

    def _count_fields(self, names: Sequence[str], by: int) -> None:
        if names:
            self._run(_COUNT_FIELDS, self._collection_key, by, list(names))

    def _run(self, template: str, *bound: object, edition_key: int = 0) -> Any:
        return self._connection.execute(self._schema.statement(template, edition_key), bound)


_STAGE_DOCUMENT = """
CREATE TEMPORARY TABLE IF NOT EXISTS footnote_document (
    place integer, doc_id text, version text, source_uri text, title text, media_type text, characters integer,
    page_starts text, metadata text, text text, elements text) ON COMMIT DELETE ROWS
"""
_STAGE_CHUNK = """
CREATE TEMPORARY TABLE IF NOT EXISTS footnote_chunk (
    place integer, chunk_id text, ordinal integer, start_at integer, end_at integer, text text, page integer,
    headings text, context text, embedding {pgvector}.vector, token_vectors bytea) ON COMMIT DELETE ROWS
"""
_PUT_DOCUMENTS = """
WITH new AS (
    INSERT INTO {document} (collection_key, doc_id, version, source_uri, title, media_type, characters, page_starts,
                            metadata)
    SELECT %s, doc_id, version, source_uri, title, media_type, characters, page_starts,
           metadata::jsonb
    FROM pg_temp.footnote_document ORDER BY place
    RETURNING doc_key, doc_id),
contents AS (
    INSERT INTO {content} (doc_key, text, elements)
    SELECT new.doc_key, staged.text, staged.elements FROM new JOIN pg_temp.footnote_document staged USING (doc_id))
SELECT staged.place, new.doc_key FROM new JOIN pg_temp.footnote_document staged USING (doc_id)
"""
_PUT_INDEXED = """
INSERT INTO {indexed} (doc_key, first_key, chunks) SELECT * FROM unnest(%s, %s, %s)
"""
_PUT_CHUNKS = """
WITH staged AS MATERIALIZED (
    SELECT kept.first_key + s.ordinal AS chunk_key, kept.doc_key, s.*
    FROM unnest(%s, %s, %s) AS kept (place, doc_key, first_key) JOIN pg_temp.footnote_chunk s USING (place)
    ORDER BY chunk_key),
chunks AS (
    INSERT INTO {chunk} (chunk_key, doc_key, chunk_id, ordinal, start_at, end_at, page, headings, context, text)
    SELECT chunk_key, doc_key, chunk_id, ordinal, start_at, end_at, page, headings, context, text FROM staged)
"""
_PUT_VECTORS = """
INSERT INTO {vector} (chunk_key, doc_key, embedding) SELECT chunk_key, doc_key, embedding FROM staged
"""
_PUT_VECTORS_AND_TOKENS = """
INSERT INTO {vector} (chunk_key, doc_key, embedding, token_vectors)
SELECT chunk_key, doc_key, embedding, token_vectors FROM staged
"""
_REMOVE_DOCUMENTS = """
DELETE FROM {document} WHERE collection_key = %s AND doc_id = ANY(%s)
RETURNING doc_key, doc_id, ARRAY(SELECT key FROM jsonb_each(metadata -> %s) WHERE value <> '[]')
"""
_REMOVE_INDEXED = "DELETE FROM {indexed} WHERE doc_key = ANY(%s) RETURNING first_key, chunks"
_RECORD = """
INSERT INTO {source} (collection_key, source_uri, status, doc_id, content_hash, fingerprint, size, media_type, chunks,
                      error, recorded_at, reason, validator, parent, version, pages, attempts, seconds)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[],
                         %s::integer[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                         %s::integer[], %s::integer[], %s::text[])
ON CONFLICT (collection_key, source_uri) DO UPDATE SET
    (status, doc_id, content_hash, fingerprint, size, media_type, chunks, error, recorded_at, reason, validator, parent,
     version, pages, attempts, seconds) =
    (excluded.status, excluded.doc_id, excluded.content_hash, excluded.fingerprint, excluded.size,
     excluded.media_type, excluded.chunks, excluded.error, excluded.recorded_at, excluded.reason, excluded.validator,
     excluded.parent, excluded.version, excluded.pages, excluded.attempts, excluded.seconds)
"""
_COUNT_FIELDS = """
INSERT INTO {field} (collection_key, name, documents)
SELECT %s, name, %s * count(*) FROM unnest(%s::text[]) AS name GROUP BY name
ON CONFLICT (collection_key, name) DO UPDATE SET documents = field.documents + excluded.documents
"""

"""What a snapshot looks at: an edition at one commit, found in the round trip that begins the transaction."""

import json
from dataclasses import dataclass

from retrieval.errors import CollectionNotFound, StoreCorrupt
from retrieval.records import CollectionInfo, Edition
from retrieval.stores.checks import check_edition
from retrieval.stores.pgvector import rows
from retrieval.stores.pgvector.connection import Database, Row, Statement
from retrieval.stores.pgvector.schema import Schema
from retrieval.stores.pgvector.text import unescape

# The lock is taken before the tables are looked for: whoever removes them holds it alone.
_LOOK = """
SELECT c.sequence, c.live, c.documents, e.edition_key, (SELECT max(version) FROM {footnote_migration}),
       CASE WHEN pg_try_advisory_xact_lock_shared(%s, e.edition_key::integer)
            THEN to_regclass(format('%%I.chunk_%%s', %s::text, e.edition_key)) IS NOT NULL END,
       EXISTS (SELECT FROM pg_index WHERE indisvalid
               AND indexrelid = to_regclass(format('%%I.vector_%%s_hnsw', %s::text, e.edition_key))),
       CASE WHEN c.sequence <> %s THEN
           (SELECT json_agg(json_build_array(one.number, one.embedder, one.chunking, one.documents, one.chunks,
                                             one.created_at, one.token_code) ORDER BY one.number)::text
            FROM {edition} one WHERE one.collection_key = c.collection_key) END,
       CASE WHEN c.sequence <> %s THEN
           ARRAY(SELECT f.name FROM {field} f
                 WHERE f.collection_key = c.collection_key AND f.documents > 0 ORDER BY f.name) END
FROM {collection} c
LEFT JOIN {edition} e ON e.collection_key = c.collection_key AND e.number = coalesce(%s, c.live)
WHERE c.collection_key = %s
"""


@dataclass(frozen=True, slots=True)
class View:
    """What a snapshot looks at."""

    collection_key: int
    edition_key: int
    info: CollectionInfo
    has_index: bool
    """Whether the edition's vectors have an approximate index."""


@dataclass(frozen=True, slots=True)
class Details:
    """What the last snapshot found; the next one asks again only when there was a commit."""

    sequence: int
    fields: tuple[str, ...]
    editions: tuple[Edition, ...]


class Viewer:
    """Looks at one collection. Thread-safe."""

    def __init__(self, database: Database, schema: Schema, collection_key: int, name: str, language: str) -> None:
        self._database = database
        self._schema = schema
        self._collection_key = collection_key
        self._name = name
        self._language = language
        self.known = Details(-1, (), ())
        """Pass it to both methods: another thread may replace it meanwhile."""

    def question(self, known: Details, edition: int | None) -> Statement:
        """What to ask for a view of the live edition, or of another one."""
        schema = self._database.schema
        bound = (self._schema.lock_space, schema, schema, known.sequence, known.sequence, edition, self._collection_key)
        return self._schema.statement(_LOOK), bound

    def view(self, row: Row | None, known: Details, edition: int | None, *, last: bool) -> View | None:
        """The answer to the question about `edition`; None when it was dropped since the server looked: ask again.

        Raises CollectionNotFound, EditionNotFound, StoreTooNew; StoreCorrupt when `last` and there is still no table.
        """
        if row is None:
            raise CollectionNotFound(f"collection {self._name!r} was dropped since it was opened; open it again")
        sequence, live, documents, edition_key, version, held, has_index, editions, fields = row
        self._schema.check_version(version)
        if editions is not None:
            found = tuple(map(rows.edition, json.loads(editions)))
            known = self.known = Details(sequence, tuple(map(unescape, fields)), found)
        number, by_number = live if edition is None else edition, {one.number: one for one in known.editions}
        check_edition(number, by_number)
        if not held:
            if last:
                raise StoreCorrupt(
                    f"{self._database.place}: tables of edition {number} of collection {self._name!r} "
                    f"(chunk_{edition_key} in schema {self._schema.name!r}) are missing; restore the database from a "
                    "backup, or drop the collection and ingest again"
                )
            return None
        info = CollectionInfo(
            self._name, self._language, documents, sequence, known.fields, by_number[number], live, known.editions
        )
        return View(self._collection_key, edition_key, info, has_index)

"""BM25 inside stock PostgreSQL: an inverted index in tables of its own, exact at each commit.

PostgreSQL ranks by `ts_rank`, which knows neither how rare a term is nor how long the average text; extensions that
know BM25 are not to be had on RDS. A table with a row per posting can be asked for BM25 in plain SQL, but costs
kilobytes per chunk and a hash aggregate of every posting of every term at each query. So `retrieval.stores.postings`
lives here in pages, and NumPy scores. `python -m evals.bench.stores --compare-sql` measures both. Per edition:

    segment_N    the keys and lengths of the chunks that one commit added, or that a merge made of several
    posting_N    the segments' pages (see `lexical_pages`)
    tombstone_N  chunks that died since their segment was written

Segments never change, and their keys are not given twice: what a process has read of them it may keep. What a commit
adds and buries is in its own transaction, so a snapshot sees exact document frequencies and lengths; `lexical_upkeep`
merges segments meanwhile, which changes nothing that a search returns.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from psycopg import Connection, sql

from retrieval.records import TermScores
from retrieval.stores import postings
from retrieval.stores.pgvector import lexical_pages, lexical_scoring, lexical_tables
from retrieval.stores.pgvector.lexical_pages import PageCache, PageId
from retrieval.stores.pgvector.lexical_scoring import Occurrences, Scored, State
from retrieval.stores.pgvector.lexical_tables import Keys, tables
from retrieval.stores.postings import Postings, term_hash

_STATES = 3
"""Commits whose state is kept, those used last: queries that began earlier still read one that is not the newest."""


def create(connection: Connection[Any], schema: str, edition_key: int) -> None:
    """Make the tables of an edition, empty."""
    names = tables(schema, edition_key)
    connection.execute(
        sql.SQL(
            """
            CREATE TABLE {segment} (
                segment_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                analysis integer NOT NULL,
                chunks integer NOT NULL,
                pages integer NOT NULL,
                bytes bigint NOT NULL,
                keys bytea NOT NULL,
                lengths bytea NOT NULL
            )
            """
        ).format(**names)
    )
    connection.execute(
        sql.SQL(
            "CREATE TABLE {posting} (segment_key bigint, page integer, data bytea, PRIMARY KEY (segment_key, page))"
        ).format(**names)
    )
    # Packed already: compression by the server would cost it time and gain little.
    connection.execute(sql.SQL("ALTER TABLE {posting} ALTER COLUMN data SET STORAGE EXTERNAL").format(**names))
    connection.execute(sql.SQL("CREATE TABLE {tombstone} (chunk_key bigint PRIMARY KEY)").format(**names))


def drop(connection: Connection[Any], schema: str, edition_key: int) -> None:
    """Remove the tables of an edition."""
    names = tables(schema, edition_key)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {segment}, {posting}, {tombstone}").format(**names))


def prepare(texts: Sequence[str], terms: Callable[[str], list[str]]) -> Postings:
    """Index texts in the order of the keys they will get: the slow part of `add`, which needs no database."""
    return postings.build(np.arange(len(texts), dtype=np.int64), texts, terms=terms)


def add(connection: Connection[Any], schema: str, edition_key: int, keys: Keys, prepared: Postings) -> None:
    """Within the transaction that adds chunks: their segment, in two round trips. `keys` ascend."""
    if len(keys):
        pages = lexical_pages.pages_for(lexical_pages.estimate(prepared))
        data = [*lexical_pages.cut(prepared, pages)]
        size = sum(len(page) for _, page in data)
        segment_key = lexical_tables.put_segment(
            connection, schema, edition_key, keys, prepared.lengths, pages=pages, size=size
        )
        lexical_tables.put_pages(connection, schema, edition_key, segment_key, data)


def bury(connection: Connection[Any], schema: str, edition_key: int, keys: Keys) -> None:
    """Within the transaction that removes chunks: count them no longer."""
    if len(keys):
        connection.execute(
            sql.SQL("INSERT INTO {tombstone} SELECT * FROM unnest(%s::bigint[])").format(**tables(schema, edition_key)),
            [keys.tolist()],
        )


class LexicalIndex:
    """Searches the index of one edition. Thread-safe: a process needs one, with a cache that all editions share."""

    def __init__(self, schema: str, edition_key: int, cache: PageCache) -> None:
        self.schema = schema
        self.edition_key = edition_key
        self._cache = cache
        self._states: OrderedDict[int, State] = OrderedDict()
        self._lock = threading.Lock()

    def search(
        self, connection: Connection[Any], sequence: int, terms: Mapping[str, float], k: int, allowed: Keys | None
    ) -> Scored:
        """The chunks with the best BM25 among those `allowed` (ascending keys; None for all).

        Within a snapshot's transaction (REPEATABLE READ), which reads the collection's commit number `sequence`: what
        this process knows of that commit is not read again. At most three round trips, none when all is known.
        """
        # In the order of the terms, as the memory store adds up: the last digit of a sum depends on it.
        weighted = sorted(terms.items())
        state, held = self._held(connection, sequence, [term for term, _ in weighted])
        return lexical_scoring.search(state, held, [weight for _, weight in weighted], k, allowed)

    def term_scores(
        self, connection: Connection[Any], sequence: int, terms: Mapping[str, float], keys: Keys
    ) -> TermScores:
        """What each term adds to the BM25 of the chunks of these keys; see `search`."""
        ascending = tuple(sorted(terms))
        state, held = self._held(connection, sequence, ascending)
        return lexical_scoring.term_scores(state, held, ascending, [terms[term] for term in ascending], keys)

    def _held(
        self, connection: Connection[Any], sequence: int, terms: Sequence[str]
    ) -> tuple[State, Sequence[Sequence[Occurrences]]]:
        """The segments of a commit, and for each of them the occurrences of each term. Raises StoreCorrupt."""
        hashed = [term_hash(term) for term in terms]
        state = self._known(sequence) or self._read(connection, sequence)
        pages = self._pages(connection, state, hashed)
        if pages is None:
            # A merge has replaced segments since the state was read; this commit reads the same from the new ones.
            state = self._read(connection, sequence)
            pages = self._pages(connection, state, hashed)
        if pages is None:
            raise lexical_tables.incomplete(self.schema, self.edition_key)
        return state, [
            [lexical_scoring.occurrences(page, term) for page, term in zip(row, hashed, strict=True)] for row in pages
        ]

    def _known(self, sequence: int) -> State | None:
        with self._lock:
            if sequence in self._states:
                self._states.move_to_end(sequence)
            return self._states.get(sequence)

    def _read(self, connection: Connection[Any], sequence: int) -> State:
        with self._lock:
            known = {part.segment.segment_key: part.segment for state in self._states.values() for part in state.parts}
        state = lexical_scoring.state(*lexical_tables.read_segments(connection, self.schema, self.edition_key, known))
        with self._lock:
            self._states[sequence] = state
            self._states.move_to_end(sequence)
            if len(self._states) > _STATES:
                self._states.popitem(last=False)
        return state

    def _pages(self, connection: Connection[Any], state: State, terms: Sequence[int]) -> list[list[Postings]] | None:
        """For each segment the page of each term; None when one is not there any more."""
        ids = [
            [
                PageId(self.edition_key, part.segment.segment_key, lexical_pages.page_of(term, part.segment.pages))
                for term in terms
            ]
            for part in state.parts
        ]
        wanted = {page_id for row in ids for page_id in row}
        found = self._cache.get(wanted)
        if missing := wanted - found.keys():
            read = lexical_tables.read_pages(connection, self.schema, self.edition_key, missing)
            self._cache.put(read)
            found |= read
        return [[found[page_id] for page_id in row] for row in ids] if len(found) == len(wanted) else None

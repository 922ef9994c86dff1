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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from retrieval import bm25
from retrieval.stores import postings
from retrieval.stores.checks import SCORE_DECIMALS
from retrieval.stores.pgvector import lexical_pages, lexical_tables
from retrieval.stores.pgvector.lexical_pages import PageCache, PageId
from retrieval.stores.pgvector.lexical_tables import Keys, Segment, tables
from retrieval.stores.postings import Mask, Postings, term_hash

Scored = tuple[Keys, NDArray[np.float64]]
"""Chunk keys and their rounded scores: at least the k best, with all that tie with the last of them."""
_Occurrences = tuple[NDArray[np.int32], NDArray[np.uint16]]
"""Positions and counts of the postings of a term in a segment."""

_SLACK = 2.0 * 10.0**-SCORE_DECIMALS
"""Scores less than this apart may be equal once they are rounded."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A segment as it stands in one commit."""

    segment: Segment
    alive: Mask | None
    """None when all of its chunks live."""
    norms: NDArray[np.float64]
    """Of each chunk, see `bm25.length_norm`."""


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """All segments at one commit. Immutable, so any number of threads may search it."""

    parts: Sequence[_Part]
    chunks: int
    """That live."""


class LexicalIndex:
    """Searches the index of one edition. Thread-safe: a process needs one, with a cache that all editions share."""

    def __init__(self, schema: str, edition_key: int, cache: PageCache) -> None:
        self.schema = schema
        self.edition_key = edition_key
        self._cache = cache
        self._states: OrderedDict[int, _State] = OrderedDict()
        self._lock = threading.Lock()

    def search(
        self, connection: Connection[Any], sequence: int, terms: Mapping[str, float], k: int, allowed: Keys | None
    ) -> Scored:
        """The chunks with the best BM25 among those `allowed` (ascending keys; None for all).

        Within a snapshot's transaction (REPEATABLE READ), which reads the collection's commit number `sequence`: what
        this process knows of that commit is not read again. At most three round trips, none when all is known.
        """
        # In the order of the terms, as the memory store adds up: the last digit of a sum depends on it.
        hashed = [(term_hash(term), weight) for term, weight in sorted(terms.items())]
        state = self._known(sequence) or self._read(connection, sequence)
        pages = self._pages(connection, state, hashed)
        if pages is None:
            # A merge has replaced segments since the state was read; this commit reads the same from the new ones.
            state = self._read(connection, sequence)
            pages = self._pages(connection, state, hashed)
        if pages is None:
            raise lexical_tables.incomplete(self.schema, self.edition_key)
        return _search(state, pages, hashed, k, allowed)

    def _known(self, sequence: int) -> _State | None:
        with self._lock:
            if sequence in self._states:
                self._states.move_to_end(sequence)
            return self._states.get(sequence)

    def _read(self, connection: Connection[Any], sequence: int) -> _State:
        with self._lock:
            known = {part.segment.segment_key: part.segment for state in self._states.values() for part in state.parts}
        state = _state(*lexical_tables.read_segments(connection, self.schema, self.edition_key, known))
        with self._lock:
            self._states[sequence] = state
            self._states.move_to_end(sequence)
            if len(self._states) > _STATES:
                self._states.popitem(last=False)
        return state

    def _pages(
        self, connection: Connection[Any], state: _State, terms: Sequence[tuple[int, float]]
    ) -> list[list[Postings]] | None:
        """For each segment the page of each term; None when one is not there any more."""
        ids = [
            [
                PageId(self.edition_key, part.segment.segment_key, lexical_pages.page_of(term, part.segment.pages))
                for term, _ in terms
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


def _state(segments: Sequence[Segment], dead: Keys) -> _State:
    alive = [lexical_tables.living(segment, dead) for segment in segments]
    lengths = [
        segment.lengths if live is None else segment.lengths[live]
        for segment, live in zip(segments, alive, strict=True)
    ]
    chunks, total = sum(map(len, lengths)), sum(int(part.sum()) for part in lengths)
    average = total / chunks if total else 1.0
    parts = [
        _Part(segment, live, bm25.length_norm(segment.lengths.astype(np.float64), average))
        for segment, live in zip(segments, alive, strict=True)
    ]
    return _State(parts, chunks)


def _search(
    state: _State, pages: Sequence[Sequence[Postings]], terms: Sequence[tuple[int, float]], k: int, allowed: Keys | None
) -> Scored:
    held = [[_occurrences(page, term) for page, (term, _) in zip(row, terms, strict=True)] for row in pages]
    weights = []
    for i, (_, weight) in enumerate(terms):
        frequency = sum(_frequency(row[i], part.alive) for row, part in zip(held, state.parts, strict=True))
        weights.append(weight * bm25.idf(state.chunks, frequency))
    keys, scores = np.zeros(0, dtype=np.int64), np.zeros(0)
    # The largest first: what its k best have, those of the others must reach.
    for part, row in sorted(zip(state.parts, held, strict=True), key=lambda pair: -len(pair[0].norms)):
        least = float(np.partition(scores, -k)[-k]) if len(scores) >= k else 0.0
        more_keys, more_scores = _matching(part, row, weights, k, allowed, least)
        keys, scores = np.concatenate([keys, more_keys]), np.concatenate([scores, more_scores])
    if len(keys) > k:
        good = scores >= np.partition(scores, -k)[-k]
        keys, scores = keys[good], scores[good]
    return keys, scores


def _occurrences(page: Postings, term: int) -> _Occurrences:
    held = page.of(term)
    return page.positions[held], page.counts[held]


def _frequency(occurrences: _Occurrences, alive: Mask | None) -> int:
    positions, _ = occurrences
    return len(positions) if alive is None else int(np.count_nonzero(alive[positions]))


def _matching(
    part: _Part,
    occurrences: Sequence[_Occurrences],
    weights: Sequence[float],
    k: int,
    allowed: Keys | None,
    least: float,
) -> Scored:
    """The best of one segment, of those that score at least `least`."""
    scores = np.zeros(len(part.norms))
    for (positions, counts), weight in zip(occurrences, weights, strict=True):
        at = positions.astype(np.intp)  # once: indexing converts to this each time
        np.add.at(scores, at, weight * bm25.saturation(counts.astype(np.float64), part.norms[at]))
    if min(weights, default=1.0) > 0.0:
        matched = np.flatnonzero(scores > max(0.0, least - _SLACK))
    else:
        matched = np.unique(np.concatenate([positions for positions, _ in occurrences]))
    if part.alive is not None:
        matched = matched[part.alive[matched]]
    if allowed is not None:
        matched = matched[np.isin(part.segment.keys[matched], allowed, assume_unique=True)]
    scores = scores[matched]
    if len(matched) > k:
        good = scores >= np.partition(scores, -k)[-k] - _SLACK
        matched, scores = matched[good], scores[good]
    return part.segment.keys[matched], np.round(scores, SCORE_DECIMALS)

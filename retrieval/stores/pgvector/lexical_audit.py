"""Does the lexical index of an edition hold just the chunks that live, each with its words?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from retrieval.analysis import ANALYSIS_VERSION
from retrieval.ports import Finding
from retrieval.stores import postings
from retrieval.stores.pgvector import arrays, lexical_pages, lexical_tables
from retrieval.stores.pgvector.schema import Schema
from retrieval.stores.pgvector.text import unescape
from retrieval.stores.postings import Mask, Postings

_BLOCK = 2_048
"""Chunks whose words are compared at a time."""
_PAGES = 64
Keys = NDArray[np.int64]
Terms = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A segment as it stands in one commit."""

    segment_key: int
    keys: Keys
    lengths: NDArray[np.int32]
    digests: NDArray[np.uint64]
    alive: Mask


def check(
    connection: Connection[Any], schema: Schema, edition: int, edition_key: int, terms: Terms
) -> Iterator[Finding]:
    """What is wrong with the lexical index of an edition; a segment is named by its key."""
    names = lexical_tables.tables(schema.name, edition_key)
    tombstones = sql.SQL("SELECT string_agg(int8send(chunk_key), ''::bytea) FROM {tombstone}").format(**names)
    [(sent,)] = connection.execute(tombstones, binary=True).fetchall()
    dead = np.sort(arrays.keys_of(sent))
    held: list[_Held] = []
    damaged = 0  # chunks
    rows = sql.SQL("SELECT segment_key, analysis, chunks, pages, keys, lengths FROM {segment} ORDER BY segment_key")
    for row in connection.execute(rows.format(**names), binary=True).fetchall():
        found = _read(connection, names, row, dead)
        if isinstance(found, str):
            damaged += row[2]
            yield Finding("damaged-segment", str(row[0]), found, edition=edition)
        else:
            held.append(found)
    known = np.concatenate([np.zeros(0, dtype=np.int64), *(one.keys for one in held)])
    nowhere = int(np.count_nonzero(~np.isin(dead, known)))
    if nowhere and not damaged:  # what has died is in a segment, else its tombstone had gone with it
        detail = f"{nowhere:,} tombstones are of chunks that no segment holds"
        yield Finding("orphan-rows", f"tombstone_{edition_key}", detail, edition=edition)
    yield from _content(connection, schema, edition, edition_key, held, damaged, terms)


def _read(  # noqa: PLR0911 - each is another fault
    connection: Connection[Any], names: dict[str, sql.Identifier], row: tuple[Any, ...], dead: Keys
) -> _Held | str:
    """A segment with what its pages say of each chunk; or what is wrong with it, in words."""
    segment_key, analysis, chunks, pages, sent_keys, sent_lengths = row
    if analysis != ANALYSIS_VERSION:
        return f"made by version {analysis} of the text analysis, this is version {ANALYSIS_VERSION}"
    if len(sent_keys) != 8 * chunks or len(sent_lengths) != 4 * chunks:
        return f"keys and lengths of {len(sent_keys) / 8:g} and {len(sent_lengths) / 4:g} chunks, of {chunks:,}"
    keys, lengths = np.frombuffer(sent_keys, "<i8"), np.frombuffer(sent_lengths, "<i4").astype(np.int32)
    if len(np.unique(keys)) < len(keys):
        return "a chunk is in it twice"
    digests = np.zeros(chunks, dtype=np.uint64)
    there = []
    for page, data in _pages(connection, names, segment_key):
        there.append(page)
        try:
            index = lexical_pages.decode(data)
        except (ValueError, IndexError) as exc:
            return f"page {page} cannot be read: {exc}"
        if fault := postings.fault(index, chunks) or _misplaced(index, page, pages):
            return f"page {page}: {fault}"
        digests += postings.digests(index, chunks)
    if there != list(range(pages)):
        return f"{len(there)} of its {pages} pages are there"
    return _Held(segment_key, keys, lengths, digests, ~np.isin(keys, dead))


def _pages(
    connection: Connection[Any], names: dict[str, sql.Identifier], segment_key: int
) -> Iterator[tuple[int, bytes]]:
    query = sql.SQL(
        "SELECT page, data FROM {posting} WHERE segment_key = %s AND page > %s ORDER BY page LIMIT %s"
    ).format(**names)
    after = -1
    while rows := connection.execute(query, [segment_key, after, _PAGES], binary=True).fetchall():
        yield from rows
        after = rows[-1][0]


def _misplaced(index: Postings, page: int, pages: int) -> str:
    where = {lexical_pages.page_of(int(term), pages) for term in (*index.terms[:1], *index.terms[-1:])}
    return "" if where <= {page} else "it holds terms of another page"


def _content(
    connection: Connection[Any],
    schema: Schema,
    edition: int,
    edition_key: int,
    held: Sequence[_Held],
    damaged: int,
    terms: Terms,
) -> Iterator[Finding]:
    """Chunks that live in the table against those that live in segments; `damaged` is how many others should hold."""
    live = _Live(held)
    for keys, texts in _blocks(connection, schema, edition_key):
        live.compare(keys, postings.build(keys, texts, terms=terms))
    for what, positions in (
        ("are in another segment, too", live.twice),
        ("have other words", np.flatnonzero(live.wrong)),
        ("are not there any more", np.flatnonzero(~live.seen)),
    ):
        owners, counts = np.unique(live.owners[positions], return_counts=True)
        for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
            yield Finding("stale-segment", str(owner), f"{count:,} chunks {what}", edition=edition)
    if live.uncovered > damaged:  # of those in damaged segments was told already
        detail = f"{live.uncovered:,} chunks are in no segment"
        yield Finding("uncovered-chunks", f"segment_{edition_key}", detail, edition=edition)


class _Live:
    """The chunks that live in segments, by key, and how they compare with those of the table."""

    def __init__(self, held: Sequence[_Held]) -> None:
        keys = np.concatenate([np.zeros(0, dtype=np.int64), *(one.keys[one.alive] for one in held)])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._digests = np.concatenate([np.zeros(0, np.uint64), *(one.digests[one.alive] for one in held)])[order]
        self._lengths = np.concatenate([np.zeros(0, np.int32), *(one.lengths[one.alive] for one in held)])[order]
        counts = [int(one.alive.sum()) for one in held]
        self.owners = np.repeat(np.array([one.segment_key for one in held], dtype=np.int64), counts)[order]
        """The segment of each."""
        self.twice = np.flatnonzero(self._keys[1:] == self._keys[:-1]) + 1
        self.wrong = np.zeros(len(keys), dtype=np.bool_)
        self.seen = np.zeros(len(keys), dtype=np.bool_)
        self.seen[self.twice] = True
        self.uncovered = 0

    def compare(self, keys: Keys, expected: Postings) -> None:
        """With the next chunks of the table."""
        at = np.searchsorted(self._keys, keys)
        there = at < len(self._keys)
        there[there] = self._keys[at[there]] == keys[there]
        self.uncovered += int(np.count_nonzero(~there))
        at = at[there]
        self.seen[at] = True
        words = postings.digests(expected, len(keys))[there] != self._digests[at]
        self.wrong[at] = words | (expected.lengths[there] != self._lengths[at])


def _blocks(connection: Connection[Any], schema: Schema, edition_key: int) -> Iterator[tuple[Keys, list[str]]]:
    query = schema.statement(
        "SELECT chunk_key, context, text FROM {chunk} WHERE chunk_key > %s ORDER BY chunk_key LIMIT %s", edition_key
    )
    after = -1
    while rows := connection.execute(query, (after, _BLOCK)).fetchall():
        after = rows[-1][0]
        texts = [unescape(f"{context}\n{text}" if context else text) for _, context, text in rows]
        yield np.array([row[0] for row in rows], dtype=np.int64), texts

"""Keeps the segments of the lexical index few and alive, outside of commits; no search and no commit waits for it.

A commit adds one segment, whatever its size, and a search looks into each. So several of one size class become one
(O'Neil et al. 1996, "The log-structured merge-tree"), and one that is mostly dead is written anew. Each merge is one
transaction: readers see the old segments or the new one, a crash leaves the old ones.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from psycopg import Connection, errors, sql

from retrieval.stores import postings
from retrieval.stores.pgvector import lexical_pages, lexical_tables
from retrieval.stores.pgvector.lexical_pages import PageId
from retrieval.stores.pgvector.lexical_tables import Keys, Segment
from retrieval.stores.postings import Mask, Postings

SMALL_CHUNKS = 256
"""Segments up to this are one class: ten thousand commits of one document each make many of them."""
SMALL_SEGMENTS = 8
"""So many of the smallest class are merged."""
MERGE_FACTOR = 4
"""So many of each other class are merged; classes grow by this factor."""
MAX_DEAD = 0.25
"""When a greater share of all chunks is dead, the segments with most of them are written anew."""
VACUUM_CHUNKS = 1_000
"""After a merge of so many, their former pages are freed at once, so that the next merges reuse the space."""
GROUP_PAGES = 64
"""Pages merged at a time: about 20 MB of memory, however large the segments are."""


def maintain(connection: Connection[Any], schema: str, edition_key: int) -> int:
    """Merge what is due, in transactions of its own; returns how many merges were made.

    For after each commit, with a connection in autocommit mode: one cheap query when nothing is due. One process at a
    time does it, others return at once. An edition that was dropped meanwhile needs none.
    """
    merges = 0
    try:
        while _is_due(connection, schema, edition_key):
            chunks = _merge_next(connection, schema, edition_key)
            if not chunks:
                break
            merges += 1
            if chunks >= VACUUM_CHUNKS:
                query = sql.SQL("VACUUM (SKIP_LOCKED) {posting}")
                connection.execute(query.format(**lexical_tables.tables(schema, edition_key)))
    except errors.UndefinedTable:
        return merges
    return merges


def wait_for_turn(connection: Connection[Any], schema: str, edition_key: int) -> None:
    """Within a transaction: nobody else merges the edition's segments until its end."""
    lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))"
    connection.execute(lock, [f"footnote lexical {schema}", edition_key])


def bury(connection: Connection[Any], schema: str, edition_key: int) -> None:
    """Write all segments anew that hold dead chunks, in transactions of its own."""
    more = True
    while more:
        with connection.transaction():
            wait_for_turn(connection, schema, edition_key)
            segments, dead = lexical_tables.read_segments(connection, schema, edition_key, {})
            more = bool(parts := _deadest(segments, dead))
            if parts:
                _merge(connection, schema, edition_key, parts, dead)


def _is_due(connection: Connection[Any], schema: str, edition_key: int) -> bool:
    with connection.transaction():
        sizes, dead = _sizes(connection, schema, edition_key)
    return bool(_crowded(sizes)) or dead > MAX_DEAD * sum(sizes.values())


def _sizes(connection: Connection[Any], schema: str, edition_key: int) -> tuple[dict[int, int], int]:
    """Chunks by segment, dead ones included, and how many have died."""
    query = sql.SQL(
        """
        SELECT segment_key, chunks FROM {segment}
        UNION ALL SELECT NULL, count(*) FROM {tombstone}
        ORDER BY segment_key
        """
    ).format(**lexical_tables.tables(schema, edition_key))
    *rows, (_, dead) = connection.execute(query).fetchall()
    return dict(rows), dead


def _merge_next(connection: Connection[Any], schema: str, edition_key: int) -> int:
    """One merge, if this process gets to do it and still finds one due; returns of how many chunks, dead ones too."""
    with connection.transaction():
        lock = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, %s))"
        [free] = connection.execute(lock, [f"footnote lexical {schema}", edition_key]).fetchone() or (False,)
        if not free:
            return 0
        sizes, _ = _sizes(connection, schema, edition_key)
        segments, dead = lexical_tables.read_segments(connection, schema, edition_key, {})
        chosen = _crowded(sizes)
        parts = [segment for segment in segments if segment.segment_key in chosen] or _deadest(segments, dead)
        if parts:
            _merge(connection, schema, edition_key, parts, dead)
    return sum(len(part.keys) for part in parts)


def _merge(connection: Connection[Any], schema: str, edition_key: int, parts: Sequence[Segment], dead: Keys) -> None:
    """Put one segment in the place of `parts`, and let go of the tombstones of what had died in them."""
    alive = [_mask(segment, dead) for segment in parts]
    _replace(connection, schema, edition_key, parts, alive)
    buried = np.concatenate([part.keys[~live] for part, live in zip(parts, alive, strict=True)])
    query = sql.SQL("DELETE FROM {tombstone} WHERE chunk_key = ANY (%s)")
    connection.execute(query.format(**lexical_tables.tables(schema, edition_key)), [buried.tolist()])


def _crowded(sizes: Mapping[int, int]) -> list[int]:
    """The segments of the smallest class that has too many; none when all is well."""
    classes: dict[int, list[int]] = {}
    for segment_key, chunks in sizes.items():
        classes.setdefault(math.ceil(math.log(max(1.0, chunks / SMALL_CHUNKS), MERGE_FACTOR)), []).append(segment_key)
    for number, members in sorted(classes.items()):
        if len(members) >= (MERGE_FACTOR if number else SMALL_SEGMENTS):
            return members
    return []


def _deadest(segments: Sequence[Segment], dead: Keys) -> list[Segment]:
    """The segment with the greatest share of dead chunks; none when all live."""
    shares = [1.0 - float(_mask(segment, dead).mean()) for segment in segments]
    return [segments[int(np.argmax(shares))]] if max(shares, default=0.0) > 0.0 else []


def _mask(segment: Segment, dead: Keys) -> Mask:
    alive = lexical_tables.living(segment, dead)
    return np.ones(len(segment.keys), dtype=np.bool_) if alive is None else alive


def _replace(
    connection: Connection[Any], schema: str, edition_key: int, parts: Sequence[Segment], alive: Sequence[Mask]
) -> None:
    """Put one segment of the live chunks in the place of several; none when none lives."""
    names, old = lexical_tables.tables(schema, edition_key), [part.segment_key for part in parts]
    keys = np.concatenate([part.keys[live] for part, live in zip(parts, alive, strict=True)])
    if len(keys):
        lengths = np.concatenate([part.lengths[live] for part, live in zip(parts, alive, strict=True)])
        query = sql.SQL("SELECT sum(bytes)::bigint FROM {segment} WHERE segment_key = ANY (%s)")
        [size] = connection.execute(query.format(**names), [old]).fetchone() or (0,)
        size, written = round(size * len(keys) / sum(len(part.keys) for part in parts)), 0
        pages = lexical_pages.pages_for(size)
        segment_key = lexical_tables.put_segment(connection, schema, edition_key, keys, lengths, pages=pages, size=size)
        for group in _merged(connection, schema, edition_key, parts, alive, pages):
            lexical_tables.put_pages(connection, schema, edition_key, segment_key, group)
            written += sum(len(data) for _, data in group)
        query = sql.SQL("UPDATE {segment} SET bytes = %s WHERE segment_key = %s")
        connection.execute(query.format(**names), [written, segment_key])
    connection.execute(sql.SQL("DELETE FROM {segment} WHERE segment_key = ANY (%s)").format(**names), [old])
    connection.execute(sql.SQL("DELETE FROM {posting} WHERE segment_key = ANY (%s)").format(**names), [old])


def _merged(
    connection: Connection[Any],
    schema: str,
    edition_key: int,
    parts: Sequence[Segment],
    alive: Sequence[Mask],
    pages: int,
) -> Iterator[list[tuple[int, bytes]]]:
    """The pages of the merged segment, a range of hashes at a time."""
    groups = max(1, pages // GROUP_PAGES)
    for group in range(groups):
        wanted = {
            part.segment_key: [
                PageId(edition_key, part.segment_key, page) for page in _overlapping(part.pages, group, groups)
            ]
            for part in parts
        }
        every = [page_id for ids in wanted.values() for page_id in ids]
        found = lexical_tables.read_pages(connection, schema, edition_key, every)
        if len(found) < len(every):
            raise lexical_tables.incomplete(schema, edition_key)
        within = [
            _within(part, lexical_pages.joined(found[page_id] for page_id in wanted[part.segment_key]), group, groups)
            for part in parts
        ]
        first, last = group * pages // groups, (group + 1) * pages // groups
        yield [*lexical_pages.cut(postings.merge(within, alive), pages, first=first, last=last)]


def _overlapping(pages: int, group: int, groups: int) -> range:
    """Which of `pages` hold terms of a group; all numbers are powers of two."""
    if pages < groups:
        page = group * pages // groups
        return range(page, page + 1)
    return range(group * pages // groups, (group + 1) * pages // groups)


def _within(part: Segment, index: Postings, group: int, groups: int) -> Postings:
    """The postings of a segment, without the terms that belong to other groups."""
    begin, end = (
        int(np.searchsorted(index.terms, np.uint64(border))) if border < 2**64 else len(index.terms)
        for border in (group * 2**64 // groups, (group + 1) * 2**64 // groups)
    )
    starts = index.starts[begin : end + 1]
    held = slice(int(starts[0]), int(starts[-1]))
    return Postings(
        part.keys, part.lengths, index.terms[begin:end], starts - starts[0], index.positions[held], index.counts[held]
    )

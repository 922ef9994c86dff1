"""The tables of the lexical index, row by row; `lexical` says what they are for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from retrieval.analysis import ANALYSIS_VERSION
from retrieval.errors import StoreCorrupt
from retrieval.stores.pgvector import lexical_pages
from retrieval.stores.pgvector.lexical_pages import PageId
from retrieval.stores.postings import Mask, Postings

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A row of the table of segments."""

    segment_key: int
    pages: int
    keys: Keys
    lengths: NDArray[np.int32]


def tables(schema: str, edition_key: int) -> dict[str, sql.Identifier]:
    """The three tables of an edition, for `sql.SQL.format`."""
    return {name: sql.Identifier(schema, f"{name}_{edition_key}") for name in ("segment", "posting", "tombstone")}


def put_segment(
    connection: Connection[Any],
    schema: str,
    edition_key: int,
    keys: Keys,
    lengths: NDArray[np.int32],
    *,
    pages: int,
    size: int,
) -> int:
    """The row of a segment; returns its key. `size` is in bytes, of all its pages."""
    query = sql.SQL(
        """
        INSERT INTO {segment} (analysis, chunks, pages, bytes, keys, lengths)
        VALUES (%s, %s, %s, %s, %b, %b) RETURNING segment_key
        """
    ).format(**tables(schema, edition_key))
    row = [ANALYSIS_VERSION, len(keys), pages, size, keys.astype("<i8").tobytes(), lengths.astype("<i4").tobytes()]
    [segment_key] = connection.execute(query, row).fetchone() or (0,)
    return int(segment_key)


def put_pages(
    connection: Connection[Any], schema: str, edition_key: int, segment_key: int, pages: Iterable[tuple[int, bytes]]
) -> None:
    """The pages of a segment, by number."""
    numbers, data = zip(*pages, strict=True)
    query = sql.SQL(
        "INSERT INTO {posting} SELECT %s, page, data FROM unnest(%b::integer[], %b::bytea[]) AS new (page, data)"
    ).format(**tables(schema, edition_key))
    connection.execute(query, [segment_key, list(numbers), list(data)])


def read_pages(
    connection: Connection[Any], schema: str, edition_key: int, wanted: Iterable[PageId]
) -> dict[PageId, Postings]:
    """Pages, decoded; those that are not there (any more) are left out."""
    ids = list(wanted)
    if not ids:
        return {}
    query = sql.SQL(
        """
        SELECT segment_key, page, data FROM {posting}
        JOIN unnest(%s::bigint[], %s::integer[]) AS wanted (segment_key, page) USING (segment_key, page)
        """
    ).format(**tables(schema, edition_key))
    values = [[page_id.segment_key for page_id in ids], [page_id.page for page_id in ids]]
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, values).fetchall()
    return {PageId(edition_key, segment, page): lexical_pages.decode(data) for segment, page, data in rows}


def incomplete(schema: str, edition_key: int) -> StoreCorrupt:
    """What to raise when a segment has not all its pages."""
    return StoreCorrupt(
        f"pages of the lexical index are missing in table {schema}.posting_{edition_key}: "
        "`footnote doctor --repair` makes it anew"
    )


def read_segments(
    connection: Connection[Any], schema: str, edition_key: int, known: Mapping[int, Segment]
) -> tuple[list[Segment], Keys]:
    """All segments by key, in one round trip with the keys of dead chunks; what is `known` is not read again.

    Raises StoreCorrupt for a segment whose terms another version of the analysis made.
    """
    query = sql.SQL(
        """
        SELECT segment_key, analysis, pages,
            CASE WHEN segment_key <> ALL (%(known)s) THEN keys END,
            CASE WHEN segment_key <> ALL (%(known)s) THEN lengths END
        FROM {segment}
        UNION ALL
        SELECT NULL, NULL, NULL, string_agg(int8send(chunk_key), ''::bytea), NULL FROM {tombstone}
        ORDER BY segment_key
        """
    ).format(**tables(schema, edition_key))
    with connection.cursor(binary=True) as cursor:
        *rows, tombstones = cursor.execute(query, {"known": list(known)}).fetchall()
    segments = []
    for segment_key, analysis, pages, keys, lengths in rows:
        if analysis != ANALYSIS_VERSION:
            raise StoreCorrupt(
                f"the lexical index was made by version {analysis} of the text analysis, this is version "
                f"{ANALYSIS_VERSION}: `footnote doctor --repair` makes it anew"
            )
        segments.append(
            known[segment_key]
            if keys is None
            else Segment(segment_key, pages, np.frombuffer(keys, "<i8"), np.frombuffer(lengths, "<i4").astype(np.int32))
        )
    return segments, np.frombuffer(tombstones[3] or b"", ">i8").astype(np.int64)


def living(segment: Segment, dead: Keys) -> Mask | None:
    """Which chunks of a segment are not among the dead; None for all."""
    died = np.isin(segment.keys, dead) if len(dead) else None
    return ~died if died is not None and died.any() else None

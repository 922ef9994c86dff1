"""What else a stock PostgreSQL ranks by, over the chunks of a pgvector collection and on its server.

BM25 in plain SQL: a table with a row per posting, whose index holds all that a score needs, so that the table itself
is not read; document frequencies stand in a table of their own, counted once, which in a collection that changes they
could not. And `ts_rank` over a tsvector with a GIN index, which is what people usually have; it is not BM25. Both are
vacuumed and analysed before they are asked.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import Connection, sql

from evals.bench.store_client import DEPTH, Times
from evals.bench.store_places import NAME, opened, pages, stored_bytes
from retrieval import bm25
from retrieval.analysis import analyzer
from retrieval.records import Hit
from retrieval.settings import RetrievalSettings

_TABLES: LiteralString = """
    CREATE TABLE sql_posting (term_key integer, chunk_key integer, tf smallint, length smallint);
    CREATE TABLE sql_term (term text COLLATE "C" PRIMARY KEY, term_key integer, frequency integer);
    CREATE TABLE gin_chunk (chunk_key integer, words tsvector)
"""
_INDEXES: LiteralString = """
    CREATE UNIQUE INDEX ON sql_posting (term_key, chunk_key) INCLUDE (tf, length);
    CREATE INDEX ON gin_chunk USING gin (words)
"""
_BM25: LiteralString = """
    SELECT chunk_key, sum(
        weight * ln(1.0 + (%(chunks)s - frequency + 0.5) / (frequency + 0.5))
        * tf * (%(k1)s + 1.0) / (tf + %(k1)s * (1.0 - %(b)s + %(b)s * length / %(average)s))
    ) AS score
    FROM unnest(%(terms)s::text[], %(weights)s::float8[]) AS query (term, weight)
    JOIN sql_term USING (term) JOIN sql_posting USING (term_key)
    GROUP BY chunk_key ORDER BY score DESC, chunk_key LIMIT %(k)s
"""
_WORDS: LiteralString = """
    INSERT INTO gin_chunk SELECT chunk_key, to_tsvector('english', words)
    FROM unnest(%s::integer[], %s::text[]) AS new (chunk_key, words)
"""
# Any of the words, as for BM25: plainto_tsquery wants all of them.
_TS_RANK: LiteralString = """
    SELECT chunk_key, ts_rank(words, query) AS score
    FROM gin_chunk, CAST(replace(plainto_tsquery('english', %(query)s)::text, '&', '|') AS tsquery) AS query
    WHERE words @@ query ORDER BY score DESC, chunk_key LIMIT %(k)s
"""
# The binary form of COPY: how many columns, and before each how many bytes it has.
_ROW = np.dtype(
    [
        ("columns", ">i2"),
        ("b1", ">i4"), ("term_key", ">i4"),
        ("b2", ">i4"), ("chunk_key", ">i4"),
        ("b3", ">i4"), ("tf", ">i2"),
        ("b4", ">i4"), ("length", ">i2"),
    ]
)  # fmt: skip
_COPY_HEADER, _COPY_TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def compare(place: RetrievalSettings, queries: Sequence[str]) -> dict[str, float]:
    """Bytes per chunk and milliseconds per query of each way, and how far their results are those of the store."""
    with opened(place, NAME) as snapshot:
        language, chunks = snapshot.info.language, snapshot.info.chunks
    of_queries = [Counter(analyzer(language).terms(query)) for query in queries]
    url = place.postgres_url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(place.postgres_schema)))
        connection.execute(_TABLES)
        chunk_ids, lengths = _fill(connection, place, language)
        connection.execute(_INDEXES)
        for name in ("sql_posting", "sql_term", "gin_chunk"):
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(name)))
        constants = {"chunks": chunks, "average": lengths.mean(), "k1": bm25.K1, "b": bm25.B, "k": DEPTH}

        def plain_sql(i: int) -> list[Hit]:
            bound = {"terms": list(of_queries[i]), "weights": [float(n) for n in of_queries[i].values()], **constants}
            return [Hit(chunk_ids[key], score) for key, score in connection.execute(_BM25, bound)]

        def ts_rank(i: int) -> list[Hit]:
            bound = {"query": queries[i], "k": DEPTH}
            return [Hit(chunk_ids[key], score) for key, score in connection.execute(_TS_RANK, bound)]

        with opened(place, NAME) as snapshot:

            def ours(i: int) -> list[Hit]:
                weights = {term: float(n) for term, n in of_queries[i].items()}
                return snapshot.search_lexical(weights, k=DEPTH)

            ways: Mapping[str, Callable[[int], list[Hit]]] = {"BM25, pages": ours, "BM25, SQL": plain_sql}
            timed = {name: _timed(way, len(queries)) for name, way in {**ways, "ts_rank": ts_rank}.items()}
    tables = {
        "BM25, pages": [r"segment\_%", r"posting\_%", r"tombstone\_%"],
        "BM25, SQL": [r"sql\_%"],
        "ts_rank": [r"gin\_%"],
    }
    found: dict[str, float] = {}
    for name, (times, hits) in timed.items():
        found[f"{name}: bytes per chunk"] = sum(stored_bytes(place, like) for like in tables[name]) / chunks
        found |= {f"{name}: {key} ms": value for key, value in asdict(times).items()}
        if name != "BM25, pages":
            found[f"{name}: share of the store's 10 best"] = _shared(hits, timed["BM25, pages"][1])
    found["BM25, SQL: largest difference of a score"] = _difference(timed["BM25, SQL"][1], timed["BM25, pages"][1])
    return found


def _fill(connection: Connection[Any], place: RetrievalSettings, language: str) -> tuple[list[str], NDArray[np.int64]]:
    """Both kinds of table; returns the chunk_id of each chunk_key and how many terms each chunk has."""
    chunk_ids, lengths, keys = list[str](), list[int](), dict[str, int]()
    frequencies = Counter[int]()
    for page in pages(place, NAME, None):
        texts = [chunk.indexed_text for replacement in page for chunk in replacement.chunks]
        counted = [Counter(analyzer(language).terms(text)) for text in texts]
        first = len(chunk_ids)
        chunk_ids += [chunk.chunk_id for replacement in page for chunk in replacement.chunks]
        lengths += [terms.total() for terms in counted]
        rows = [
            (keys.setdefault(term, len(keys)), first + i, tf, terms.total())
            for i, terms in enumerate(counted)
            for term, tf in terms.items()
        ]
        frequencies.update(row[0] for row in rows)
        _copy(connection, np.array(rows, dtype=np.int64).reshape(-1, 4))
        connection.execute(_WORDS, [list(range(first, len(chunk_ids))), texts])
    with connection.cursor() as cursor, cursor.copy("COPY sql_term FROM STDIN") as copy:
        for term, key in keys.items():
            copy.write_row((term, key, frequencies[key]))
    return chunk_ids, np.array(lengths)


def _copy(connection: Connection[Any], rows: NDArray[np.int64]) -> None:
    """Postings in columns term_key, chunk_key, tf, length."""
    packed = np.zeros(len(rows), dtype=_ROW)
    packed["columns"] = packed["b1"] = packed["b2"] = 4  # columns, and bytes of each
    packed["b3"] = packed["b4"] = 2
    for i, name in enumerate(("term_key", "chunk_key", "tf", "length")):
        packed[name] = rows[:, i]
    with connection.cursor() as cursor, cursor.copy("COPY sql_posting FROM STDIN (FORMAT binary)") as copy:
        copy.write(_COPY_HEADER + packed.tobytes() + _COPY_TRAILER)


def _timed(way: Callable[[int], list[Hit]], queries: int) -> tuple[Times, list[list[Hit]]]:
    hits = [way(i) for i in range(queries)]
    seconds = []
    for i in range(queries):
        begin = time.perf_counter()
        way(i)
        seconds.append(time.perf_counter() - begin)
    return Times.of(seconds), hits


def _shared(found: Sequence[Sequence[Hit]], right: Sequence[Sequence[Hit]], k: int = 10) -> float:
    """Mean share of the k best chunks that are among the k best of the other."""
    shares = [
        len({hit.chunk_id for hit in mine[:k]} & {hit.chunk_id for hit in theirs[:k]}) / len(theirs[:k])
        for mine, theirs in zip(found, right, strict=True)
        if theirs
    ]
    return float(np.mean(shares))


def _difference(found: Sequence[Sequence[Hit]], right: Sequence[Sequence[Hit]]) -> float:
    """Between scores of the same rank."""
    differences = [
        abs(mine.score - theirs.score)
        for one, other in zip(found, right, strict=True)
        for mine, theirs in zip(one, other, strict=True)
    ]
    return max(differences, default=0.0)

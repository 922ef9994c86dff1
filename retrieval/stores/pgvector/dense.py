"""Search by vector: exact over what is small, through the HNSW index over what is large, always scored exactly.

The server compares in single (index: half) precision and returns somewhat more than is asked for; those are scored
again here from the stored vectors in double precision, so that equal vectors tie and ties are broken by chunk_id.
Vectors have length 1, so the inner product is the cosine, and it is what the memory store computes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import Connection

from retrieval.ports import Vectors
from retrieval.records import Hit
from retrieval.stores.checks import SCORE_DECIMALS
from retrieval.stores.pgvector import arrays
from retrieval.stores.pgvector.arrays import BigintArray
from retrieval.stores.pgvector.passing import Passing
from retrieval.stores.pgvector.schema import Schema
from retrieval.stores.pgvector.text import unescape

MAX_INDEXED_DIMENSION = 4_000
"""What pgvector indexes as half-precision vectors; longer ones are searched exactly."""
NARROW = 20.0
"""Comparing what passes a filter costs as many steps as pass; the index has to look at limit x all / passing chunks for
as many as are wanted, each of which costs this many steps. Measured on 108,000 vectors of 384 dimensions."""
_TIE_SLACK = 32
"""So many more than asked for are fetched, so that ties at the end can be told apart."""
_OVERSAMPLING = 1.2
"""Of the index: half precision may swap neighbours."""
_EF_SEARCH = 200, 1_000
"""Breadth of a search in the index: at least, and what pgvector allows."""
_ROUGH = 1e-5
"""What single precision may be wrong by in a score, with room to spare."""

_EXACT = """
SELECT c.chunk_id, {pgvector}.vector_send(v.embedding)
FROM (SELECT chunk_key, embedding FROM {vector}
      ORDER BY embedding OPERATOR({pgvector}.<#>) %s LIMIT %s) v JOIN {chunk} c USING (chunk_key)
"""
_EXACT_PASSING = """
SELECT c.chunk_id, {pgvector}.vector_send(v.embedding)
FROM (SELECT chunk_key, embedding FROM {vector} WHERE chunk_key = ANY(%s)
      ORDER BY embedding OPERATOR({pgvector}.<#>) %s LIMIT %s) v JOIN {chunk} c USING (chunk_key)
"""


@dataclass(slots=True)
class DenseSearch:
    """Searches the vectors of one edition within a snapshot's transaction."""

    connection: Connection[Any]
    schema: Schema
    edition_key: int
    dimension: int
    chunks: int
    """In the edition."""
    has_index: bool
    _settings: tuple[str, ...] = ()
    """What this transaction is set to."""

    def search(self, vector: Vectors, k: int, passing: Passing | None) -> list[Hit]:
        """The k best among the chunks of the documents `passing` (None for all)."""
        if not self.chunks or (passing is not None and not passing.chunks):
            return []
        query = vector.astype(np.float32)
        found = self._approximate(query, k, passing) if self.has_index else None
        return self._exact(query, k, passing) if found is None else found

    def _approximate(self, query: Vectors, k: int, passing: Passing | None) -> list[Hit] | None:
        """None when the exact way is the better one: for a narrow filter, or when nearly everything is asked for."""
        limit = int(k * _OVERSAMPLING) + _TIE_SLACK
        chunks = self.chunks if passing is None else passing.chunks
        if limit > chunks / 10 or (passing is not None and chunks**2 <= NARROW * limit * self.chunks):
            return None
        # Wide enough to hold as many as pass, of what the filter lets through evenly.
        breadth = min(max(limit * self.chunks // chunks, _EF_SEARCH[0]), _EF_SEARCH[1])
        where, bound = ("", []) if passing is None else ("WHERE doc_key = ANY(%s)", [BigintArray(passing.doc_keys)])
        # The limit is written out: with an unknown one, a prepared plan would take the index for a poor choice.
        found = self._run(
            f"""
            SELECT c.chunk_id, {{pgvector}}.vector_send(v.embedding)
            FROM (SELECT chunk_key, embedding FROM {{vector}} {where}
                  ORDER BY {distance(self.dimension)} LIMIT {limit:d}) v JOIN {{chunk}} c USING (chunk_key)
            """,  # noqa: S608 - literals and numbers
            *bound, query,
            settings=("off", str(breadth)),
        )  # fmt: skip
        # The index gives up after a while when few of what is near passes.
        return None if len(found) < limit else self._hits(found, query)[:k]

    def _exact(self, query: Vectors, k: int, passing: Passing | None) -> list[Hit]:
        template, bound = (_EXACT, []) if passing is None else (_EXACT_PASSING, [BigintArray(passing.chunk_keys)])
        limit = k + _TIE_SLACK
        while True:
            found = self._run(template, *bound, query, limit, settings=("on", str(_EF_SEARCH[0])))
            hits = self._hits(found, query)
            # Whatever was left out may score as high as the last of these, give or take.
            if len(found) < limit or hits[-1].score + _ROUGH < hits[k - 1].score:
                return hits[:k]
            limit *= 4

    def _hits(self, found: list[tuple[str, bytes]], query: Vectors) -> list[Hit]:
        """Scored and ranked."""
        vectors = arrays.vectors_of([sent for _, sent in found], self.dimension)
        scores = np.round(vectors.astype(np.float64) @ query.astype(np.float64), SCORE_DECIMALS).tolist()
        hits = [Hit(unescape(chunk_id), score) for (chunk_id, _), score in zip(found, scores, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))

    def _run(self, template: str, *bound: object, settings: tuple[str, ...]) -> list[Any]:
        query = self.schema.statement(template, self.edition_key)
        if settings == self._settings:
            return self.connection.execute(query, bound, binary=True, prepare=False).fetchall()
        with self.connection.pipeline():
            self.connection.execute(_SETTINGS, settings)
            cursor = self.connection.execute(query, bound, binary=True, prepare=False)
        self._settings = settings
        return cursor.fetchall()


# Without a sequential scan there is one plan that gives rows in this order. Relaxed order is enough: we rank ourselves.
_SETTINGS = b"""
SELECT set_config('enable_seqscan', %s, true), set_config('hnsw.ef_search', %s, true),
       set_config('hnsw.iterative_scan', 'relaxed_order', true)
"""


def distance(dimension: int, other: str = "%s") -> str:
    """What the index is asked to order by; a template for `Schema.statement`."""
    half = f"{{pgvector}}.halfvec({dimension:d})"
    return f"(embedding::{half}) OPERATOR({{pgvector}}.<#>) ({other}::{{pgvector}}.vector::{half})"

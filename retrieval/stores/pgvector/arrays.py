"""Integers and vectors between NumPy and PostgreSQL in the binary formats, without a Python object for each number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector.psycopg.vector import register_vector_info
from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

from retrieval.ports import Vectors

Keys = NDArray[np.int64]

_BIGINT, _BIGINT_ARRAY = 20, 1016  # oids that PostgreSQL never changes


class BigintArray:
    """Keys as a parameter of type bigint[]."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys


class _BigintArrayDumper(Dumper):
    format = Format.BINARY
    oid = _BIGINT_ARRAY

    def dump(self, obj: BigintArray) -> Buffer:
        count = len(obj.keys)
        header = np.array([1 if count else 0, 0, _BIGINT, count, 1][: 5 if count else 3], dtype=">i4")
        rows = np.empty(count, dtype=[("size", ">i4"), ("value", ">i8")])
        rows["size"], rows["value"] = 8, obj.keys
        return header.tobytes() + rows.tobytes()


def register(connection: Connection[Any], vector: TypeInfo) -> None:
    """Let `connection` take BigintArray, and NumPy arrays as pgvector's type, which the server knows as `vector`."""
    connection.adapters.register_dumper(BigintArray, _BigintArrayDumper)
    register_vector_info(connection, vector)


def keys_of(sent: bytes | None) -> Keys:
    """Keys from `string_agg(int8send(key), '')`; none from NULL."""
    return np.frombuffer(sent or b"", dtype=">i8").astype(np.int64)


def vectors_of(sent: Sequence[bytes], dimension: int) -> Vectors:
    """Shape (len(sent), dimension), float32, from `vector_send(embedding)` of each row."""
    # Two 16-bit numbers stand before the components: as wide as one of them.
    every = np.frombuffer(b"".join(sent), dtype=">f4").reshape(len(sent), dimension + 1)
    return every[:, 1:].astype(np.float32)


def ranges(found: NDArray[np.int64]) -> Keys:
    """All keys of ranges given as rows of (first key, how many), ascending. Shape (n, 2) to (sum of the counts,)."""
    first, counts = found[np.argsort(found[:, 0])].T
    ends = np.cumsum(counts)
    keys: Keys = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64) + np.repeat(first - (ends - counts), counts)
    return keys

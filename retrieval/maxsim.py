"""Late interaction: a chunk keeps a small code of its token vectors, a query is compared with each of them.

The score of a chunk is ColBERT's (Khattab and Zaharia 2020): for each token of the query the cosine of the nearest
token of the chunk, summed up by weights. The token vectors are those of the embedder itself, which never was trained
for it; docs/ranking.md has what it brings all the same.

A chunk's code has one vector for each distinct word piece, the mean of its occurrences; pieces without a letter or
digit are left out. A vector is turned by a fixed rotation and only the signs are kept, a bit per dimension: 48 bytes
for 384 dimensions, some 4 kB for a chunk of 200 tokens. The query's side is not rounded, so the error of a cosine is
about 1/sqrt(dimension), and it averages out over the tokens of a query (Gao and Long 2024 have the theory, "RaBitQ").
Nothing is fitted to any data, so one code serves all collections of a model.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def encode(vectors: Floats, pieces: NDArray[np.int64]) -> bytes:
    """The code of a chunk: `vectors` of shape (tokens, dimension) with the id of the word piece of each.

    At least one token; the dimension is a multiple of 8.
    """
    order = np.argsort(pieces, kind="stable")
    starts = np.flatnonzero(np.diff(pieces[order], prepend=-1))
    sums = np.add.reduceat(_unit(vectors)[order], starts, axis=0)
    return np.packbits(sums @ _rotation(vectors.shape[1]) > 0.0, axis=1).tobytes()


def scores(query: Floats, weights: Floats, codes: Sequence[bytes]) -> Floats:
    """One score per code, -1..1, higher is better; 0 for an empty code.

    `query` has shape (tokens, dimension), `weights` (tokens,), >= 0 and not all 0.
    """
    result = np.zeros(len(codes), dtype=np.float32)
    dimension = query.shape[1]
    held = [i for i, code in enumerate(codes) if code]
    if not held:
        return result
    packed = np.frombuffer(b"".join(codes[i] for i in held), dtype=np.uint8).reshape(-1, dimension // 8)
    starts = np.cumsum([0, *(len(codes[i]) // (dimension // 8) for i in held)])[:-1]
    turned = _unit(query) @ _rotation(dimension)
    # A sign s is 2 * bit - 1, so q . s = 2 * (q . bits) - sum(q).
    products = turned @ np.unpackbits(packed, axis=1).astype(np.float32).T
    cosines = (2.0 * products - turned.sum(axis=1, keepdims=True)) / np.sqrt(dimension)
    nearest = np.maximum.reduceat(cosines, starts, axis=1)
    result[held] = (weights / weights.sum()) @ nearest
    return result


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0.0, norms, 1.0), dtype=np.float32)


@functools.lru_cache(maxsize=4)
def _rotation(dimension: int) -> Floats:
    """Shape (dimension, dimension), orthogonal: signs flipped by a fixed pattern, then Hadamard transforms by block.

    It spreads what a model puts into few dimensions over many: of those the sign alone would keep little.
    """
    block = dimension & -dimension  # the largest power of two that divides it
    hadamard = np.ones((1, 1))
    while len(hadamard) < block:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    blocks = np.kron(np.eye(dimension // block), hadamard / np.sqrt(block))
    return np.ascontiguousarray(_flips(dimension)[:, np.newaxis] * blocks, dtype=np.float32)


def _flips(dimension: int) -> Floats:
    """1 and -1 in a fixed pattern: the parity of the bits of i * 2654435761 (Knuth's multiplier), on any machine."""
    hashed = (np.arange(dimension, dtype=np.uint64) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    return np.asarray(1.0 - 2.0 * (np.bitwise_count(hashed) & 1), dtype=np.float32)

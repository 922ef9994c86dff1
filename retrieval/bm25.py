"""The BM25 formula, one definition for every store.

Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with the idf that stays
positive (ln(1 + ...)), k1 and b as Lucene has them.
"""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

K1 = 1.2
B = 0.75

Counts = TypeVar("Counts", float, NDArray[np.float64], NDArray[np.float32])


def idf(chunks: int, frequency: int) -> float:
    """Weight of a term that `frequency` of `chunks` chunks hold; > 0."""
    return math.log1p((chunks - frequency + 0.5) / (frequency + 0.5))


def length_norm(length: Counts, average_length: float) -> Counts:
    """How much a chunk of `length` terms dampens each occurrence. Works on numbers and on arrays."""
    return K1 * (1.0 - B + B * length / average_length)


def saturation(tf: Counts, norm: Counts) -> Counts:
    """How much `tf` occurrences count in a chunk of that length norm, 0..K1+1. Works on numbers and on arrays."""
    return tf * (K1 + 1.0) / (tf + norm)

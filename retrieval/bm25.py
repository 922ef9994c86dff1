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

Counts = TypeVar("Counts", float, NDArray[np.float64])


def idf(chunks: int, frequency: int) -> float:
    """Weight of a term that `frequency` of `chunks` chunks hold; > 0."""
    return math.log1p((chunks - frequency + 0.5) / (frequency + 0.5))


def saturation(tf: Counts, length: Counts, average_length: float) -> Counts:
    """How much `tf` occurrences in a chunk of `length` terms count, 0..K1+1. Works on numbers and on arrays."""
    return tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length / average_length))

"""Pseudo-relevance feedback: what the first results say about what the query meant."""

import numpy as np

from retrieval.ports import Vectors


def rocchio(query: Vectors, feedback: Vectors, *, weight: float) -> Vectors:
    """The query moved towards the centroid of the first results; Rocchio 1971, without the negative part.

    `query` has shape (dimension,), `feedback` (n, dimension); `weight` 0..1 is the centroid's share. The result is
    L2-normalised again.
    """
    if not len(feedback) or weight == 0.0:
        return query
    moved = (1.0 - weight) * query + weight * feedback.mean(axis=0)
    norm = float(np.linalg.norm(moved))
    return (moved / norm).astype(np.float32) if norm > 0.0 else query

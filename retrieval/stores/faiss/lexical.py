"""The best chunks of one segment by BM25, without scoring all that hold a term.

MaxScore (Turtle and Flood 1995, "Query evaluation: strategies and optimizations") on arrays. Terms are added up from
the heaviest, in single precision. When all that is left could not lift a chunk that has nothing so far among the k
best, it is looked up only for the chunks that may still get there. The few that stay are scored again in double
precision, term by term in the order given, so that the last digit is the memory store's. Frequent terms weigh least and
have the longest postings.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval import bm25
from retrieval.stores.checks import SCORE_DECIMALS
from retrieval.stores.postings import Mask, Postings

Found = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Positions and scores."""

_NARROW = 1 / 30
"""A filter that lets a smaller share through: what passes is looked up term by term, and nothing else."""
_WORTH = 4_000
"""Postings that must be left before it pays to find out whether they can be skipped."""
_ROUNDING = 1e-5
"""Relative error allowed for sums in single precision; theirs is some 1e-7 a term."""
_TIE = 10.0**-SCORE_DECIMALS


def best(
    index: Postings,
    weights: Sequence[tuple[int, float]],
    norms: NDArray[np.float32],
    *,
    average: float,
    k: int,
    mask: Mask | None,
    floor: float,
) -> Found:
    """The k best among those that `mask` lets through and all that tie with the last; none that score below `floor`.

    `weights` are hashes of terms, each with its weight times idf (> 0); `norms` has each chunk's `bm25.length_norm`,
    and `average` is the mean length behind it. What is given beyond the k best does no harm.
    """
    found = [(part, weight) for term, weight in weights if (part := index.of(term)).stop > part.start]
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    if mask is not None and np.count_nonzero(mask) < _NARROW * len(index):
        candidates = np.flatnonzero(mask)
    else:
        candidates = _candidates(index, found, norms, k, mask, floor)
    scores = _exact(index, found, candidates, average)
    matched = scores > 0.0
    if np.count_nonzero(matched) > k:
        matched = scores >= np.partition(scores, -k)[-k] - _TIE
    return candidates[matched], scores[matched]


def by_term(
    index: Postings, weights: Sequence[tuple[int, float]], positions: NDArray[np.int64], *, average: float
) -> NDArray[np.float64]:
    """What each term adds to the scores of some chunks: shape (len(positions), len(weights)). See `best`."""
    scores = np.zeros((len(positions), len(weights)))
    norms = bm25.length_norm(index.lengths[positions].astype(np.float64), average)
    for column, (term, weight) in enumerate(weights):
        if (part := index.of(term)).stop > part.start:
            has, counts = _lookup(index, part, positions)
            scores[has, column] = weight * bm25.saturation(counts.astype(np.float64), norms[has])
    return scores


def _candidates(
    index: Postings,
    found: Sequence[tuple[slice, float]],
    norms: NDArray[np.float32],
    k: int,
    mask: Mask | None,
    floor: float,
) -> NDArray[np.int64]:
    """All that may be among the k best."""
    heaviest_first = sorted(found, key=lambda term: -term[1])
    bounds = [weight * (bm25.K1 + 1.0) for _, weight in heaviest_first]
    left, slack = sum(bounds), _TIE + _ROUNDING * sum(bounds)
    postings_left = sum(part.stop - part.start for part, _ in found)
    sums = np.zeros(len(index), dtype=np.float32)
    done = 0
    while done < len(found) and left >= floor - slack:
        part, weight = heaviest_first[done]
        positions = index.positions[part]
        impact = np.float32(weight) * bm25.saturation(index.counts[part].astype(np.float32), norms[positions])
        reached = sums[positions] + impact
        sums[positions] = reached
        left -= bounds[done]
        postings_left -= len(positions)
        done += 1
        if postings_left > _WORTH:  # the k-th best of these chunks is at most that of all
            floor = max(floor, _kth(reached if mask is None else reached[mask[positions]], k))
    reachable = sums > max(0.0, floor - left - slack)
    candidates = np.flatnonzero(reachable if mask is None else reachable & mask)
    return _narrowed(index, heaviest_first[done:], norms, k, candidates, sums[candidates], floor, slack)


def _narrowed(
    index: Postings,
    rest: Sequence[tuple[slice, float]],
    norms: NDArray[np.float32],
    k: int,
    candidates: NDArray[np.int64],
    sums: NDArray[np.float32],
    floor: float,
    slack: float,
) -> NDArray[np.int64]:
    """Those of the candidates that may still be among the k best when the rest of the terms is looked up for them."""
    left = sum(weight for _, weight in rest) * (bm25.K1 + 1.0)
    candidates, sums, floor = _pruned(candidates, sums, k, floor, left + slack)
    for part, weight in rest:
        has, counts = _lookup(index, part, candidates)
        sums[has] += np.float32(weight) * bm25.saturation(counts.astype(np.float32), norms[candidates[has]])
        left -= weight * (bm25.K1 + 1.0)
        candidates, sums, floor = _pruned(candidates, sums, k, floor, left + slack)
    return candidates


def _pruned(
    candidates: NDArray[np.int64], sums: NDArray[np.float32], k: int, floor: float, missing: float
) -> tuple[NDArray[np.int64], NDArray[np.float32], float]:
    """Those that can still get among the k best with what is `missing` in their sums, and the floor that shows it."""
    floor = max(floor, _kth(sums, k))
    stay = sums > floor - missing
    return candidates[stay], sums[stay], floor


def _kth(sums: NDArray[np.float32], k: int) -> float:
    """The k-th best sum so far; 0 when there are fewer."""
    return float(np.partition(sums, -k)[-k]) if len(sums) >= k else 0.0


def _exact(
    index: Postings, found: Sequence[tuple[slice, float]], candidates: NDArray[np.int64], average: float
) -> NDArray[np.float64]:
    """Scores of some chunks, added up in the order of `found`."""
    scores = np.zeros(len(candidates))
    norms = bm25.length_norm(index.lengths[candidates].astype(np.float64), average)
    for part, weight in found:
        has, counts = _lookup(index, part, candidates)
        scores[has] += weight * bm25.saturation(counts.astype(np.float64), norms[has])
    return scores


def _lookup(
    index: Postings, part: slice, candidates: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Which of the candidates hold a term, by their number among them, and how often."""
    positions = index.positions[part]
    wanted = candidates.astype(positions.dtype)  # of another type, all postings would be converted
    at = np.searchsorted(positions, wanted)
    at[at == len(positions)] = 0
    has = np.flatnonzero(positions[at] == wanted)
    return has, index.counts[part][at[has]]

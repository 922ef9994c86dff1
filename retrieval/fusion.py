"""Ways to make one ranking of several. Pure functions of hits; ties are broken by chunk_id."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from retrieval.records import Hit

Normalization = Literal["min-max", "z-score", "none"]


def rrf(rankings: Sequence[Sequence[Hit]], *, rank_constant: float = 60.0) -> list[Hit]:
    """Reciprocal rank fusion, Cormack et al. 2009: the sum of 1 / (rank_constant + rank), ranks from 1."""
    fused: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for rank, hit in enumerate(ranking, start=1):
            fused[hit.chunk_id] += 1.0 / (rank_constant + rank)
    return ranked(fused)


def convex(
    rankings: Sequence[Sequence[Hit]], weights: Sequence[float], *, normalization: Normalization = "min-max"
) -> list[Hit]:
    """The weighted sum of normalised scores, Bruch et al. 2023; weights are scaled to add up to 1.

    A chunk that a ranking does not hold gets the worst normalised score of that ranking. Raises ValueError for
    weights that are negative, all zero, or not one per ranking.
    """
    if len(weights) != len(rankings) or any(weight < 0 for weight in weights) or not sum(weights) > 0:
        raise ValueError(f"one weight >= 0 per ranking, not all 0; got {list(weights)} for {len(rankings)} rankings")
    total = sum(weights)
    normalised = [_NORMALISE[normalization]({hit.chunk_id: hit.score for hit in ranking}) for ranking in rankings]
    worst = [min(scores.values(), default=0.0) for scores in normalised]
    fused = {
        chunk_id: sum(
            weight / total * scores.get(chunk_id, floor)
            for weight, scores, floor in zip(weights, normalised, worst, strict=True)
        )
        for scores in normalised
        for chunk_id in scores
    }
    return ranked(fused)


def with_zeros(ranking: Sequence[Hit], other: Sequence[Hit]) -> list[Hit]:
    """A ranking that holds all that scores above 0, followed at 0 by what only the other one holds.

    Normalised so, one hit among a hundred stands out. By itself it would be its own mean, and say nothing.
    """
    held = {hit.chunk_id for hit in ranking}
    return [*ranking, *(Hit(hit.chunk_id, 0.0) for hit in other if hit.chunk_id not in held)]


def blend(ranking: Sequence[Hit], signals: Sequence[tuple[float, Sequence[float]]]) -> list[Hit]:
    """Rank the first hits of a ranking anew, by their own scores and by others.

    `signals` are (weight, scores) with as many scores each, for as many first hits; weights add up to at most 1, and
    what is left is the share of the hits' own scores. All are standardised over these hits. What comes out equal keeps
    its order, and the other hits follow behind in theirs.
    """
    scored = min((len(scores) for _, scores in signals), default=0)
    head, rest = ranking[:scored], ranking[scored:]
    if not head:
        return [*rest]
    own = 1.0 - math.fsum(weight for weight, _ in signals)
    shares = [(own, standardised([hit.score for hit in head]))]
    shares += [(weight, standardised(scores)) for weight, scores in signals]
    made = [
        Hit(hit.chunk_id, math.fsum(share * values[row] for share, values in shares)) for row, hit in enumerate(head)
    ]
    blended = sorted(made, key=lambda hit: -hit.score)
    scale = _deviation([hit.score for hit in head]) or 1.0
    return [*blended, *(Hit(hit.chunk_id, blended[-1].score + (hit.score - head[-1].score) / scale) for hit in rest)]


def neighbours(ranking: Sequence[Hit], adjacent: Mapping[str, Sequence[str]], *, weight: float) -> list[Hit]:
    """Lift chunks whose neighbours in the document are ranked, too.

    `adjacent` are the chunk_ids before and after each. A chunk gains `weight` times what its better neighbour is above
    the worst of the ranking.
    """
    scores = {hit.chunk_id: hit.score for hit in ranking}
    floor = min(scores.values(), default=0.0)
    return ranked(
        {
            chunk_id: score
            + weight * max((scores.get(near, floor) - floor for near in adjacent[chunk_id]), default=0.0)
            for chunk_id, score in scores.items()
        }
    )


def ranked(scores: Mapping[str, float]) -> list[Hit]:
    """Best first, ties by chunk_id ascending."""
    return [Hit(chunk_id, score) for chunk_id, score in sorted(scores.items(), key=lambda item: (-item[1], item[0]))]


def min_max(scores: Mapping[str, float]) -> dict[str, float]:
    """Scaled to 0..1; all 1 when they are all the same (each of them was found, after all)."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if high == low:
        return dict.fromkeys(scores, 1.0)
    return {chunk_id: (score - low) / (high - low) for chunk_id, score in scores.items()}


def z_score(scores: Mapping[str, float]) -> dict[str, float]:
    """Mean 0, standard deviation 1; all 0 when they are all the same."""
    return dict(zip(scores, standardised([*scores.values()]), strict=True))


def standardised(values: Sequence[float]) -> list[float]:
    """Mean 0, standard deviation 1; all 0 when they are all the same."""
    deviation = _deviation(values)
    if deviation == 0.0:
        return [0.0] * len(values)
    mean = math.fsum(values) / len(values)
    return [(value - mean) / deviation for value in values]


def _deviation(values: Sequence[float]) -> float:
    if not values or min(values) == max(values):  # the mean of equal values may be off by a bit
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


_NORMALISE: dict[Normalization, Callable[[Mapping[str, float]], dict[str, float]]] = {
    "min-max": min_max,
    "z-score": z_score,
    "none": dict,
}

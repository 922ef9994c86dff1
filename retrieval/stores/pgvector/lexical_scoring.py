"""BM25 over the segments of one commit: arrays in, scores out. `lexical` says where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval import bm25
from retrieval.records import TermScores
from retrieval.stores.checks import SCORE_DECIMALS
from retrieval.stores.pgvector import lexical_tables
from retrieval.stores.pgvector.lexical_tables import Keys, Segment
from retrieval.stores.postings import Mask, Postings

Scored = tuple[Keys, NDArray[np.float64]]
"""Chunk keys and their rounded scores: at least the k best, with all that tie with the last of them."""
Occurrences = tuple[NDArray[np.int32], NDArray[np.uint16]]
"""Positions and counts of the postings of a term in a segment."""

_SLACK = 2.0 * 10.0**-SCORE_DECIMALS
"""Scores less than this apart may be equal once they are rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A segment as it stands in one commit."""

    segment: Segment
    alive: Mask | None
    """None when all of its chunks live."""
    norms: NDArray[np.float64]
    """Of each chunk, see `bm25.length_norm`."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """All segments at one commit. Immutable, so any number of threads may search it."""

    parts: Sequence[Part]
    chunks: int
    """That live."""


def state(segments: Sequence[Segment], dead: Keys) -> State:
    """The segments with what of them lives."""
    alive = [lexical_tables.living(segment, dead) for segment in segments]
    lengths = [
        segment.lengths if live is None else segment.lengths[live]
        for segment, live in zip(segments, alive, strict=True)
    ]
    chunks, total = sum(map(len, lengths)), sum(int(part.sum()) for part in lengths)
    average = total / chunks if total else 1.0
    parts = [
        Part(segment, live, bm25.length_norm(segment.lengths.astype(np.float64), average))
        for segment, live in zip(segments, alive, strict=True)
    ]
    return State(parts, chunks)


def search(
    state: State, held: Sequence[Sequence[Occurrences]], weights: Sequence[float], k: int, allowed: Keys | None
) -> Scored:
    """The chunks with the best BM25 among those `allowed` (ascending keys; None for all)."""
    idf = [bm25.idf(state.chunks, frequency) for frequency in _frequencies(state, held, len(weights))]
    weights = [weight * rarity for weight, rarity in zip(weights, idf, strict=True)]
    keys, scores = np.zeros(0, dtype=np.int64), np.zeros(0)
    # The largest first: what its k best have, those of the others must reach.
    for part, row in sorted(zip(state.parts, held, strict=True), key=lambda pair: -len(pair[0].norms)):
        least = float(np.partition(scores, -k)[-k]) if len(scores) >= k else 0.0
        more_keys, more_scores = _matching(part, row, weights, k, allowed, least)
        keys, scores = np.concatenate([keys, more_keys]), np.concatenate([scores, more_scores])
    if len(keys) > k:
        good = scores >= np.partition(scores, -k)[-k]
        keys, scores = keys[good], scores[good]
    return keys, scores


def term_scores(
    state: State,
    held: Sequence[Sequence[Occurrences]],
    terms: tuple[str, ...],
    weights: Sequence[float],
    wanted: Keys,
) -> TermScores:
    """What each term adds to the BM25 of the chunks of the keys `wanted`; nothing to one that is in no segment."""
    chunks = _frequencies(state, held, len(terms))
    idf = np.array([bm25.idf(state.chunks, frequency) for frequency in chunks])
    scores = np.zeros((len(wanted), len(terms)))
    distinct = np.unique(wanted)
    for part, row in zip(state.parts, held, strict=True):
        among = np.isin(part.segment.keys, distinct)
        positions = np.flatnonzero(among if part.alive is None else among & part.alive)
        if len(positions):
            found = np.zeros((len(distinct), len(terms)))
            found[np.searchsorted(distinct, part.segment.keys[positions])] = _saturations(part, row, positions)
            scores += found[np.searchsorted(distinct, wanted)]
    scores *= np.array(weights) * idf
    return TermScores(terms, np.array(chunks, dtype=np.int64), idf, scores)


def _saturations(part: Part, row: Sequence[Occurrences], positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each term in the chunks at some positions: shape (len(positions), len(row)); 0 where a term is not."""
    found = np.zeros((len(positions), len(row)))
    for column, (occurring, counts) in enumerate(row):
        place = np.searchsorted(occurring, positions.astype(occurring.dtype))
        has = place < len(occurring)
        has[has] = occurring[place[has]] == positions[has]
        found[has, column] = bm25.saturation(counts[place[has]].astype(np.float64), part.norms[positions[has]])
    return found


def occurrences(page: Postings, term: int) -> Occurrences:
    """Of the term of this hash, which the page holds or nothing does."""
    held = page.of(term)
    return page.positions[held], page.counts[held]


def _frequencies(state: State, held: Sequence[Sequence[Occurrences]], terms: int) -> list[int]:
    """How many live chunks hold each of the terms."""
    found = [0] * terms
    for part, row in zip(state.parts, held, strict=True):
        for i, (positions, _) in enumerate(row):
            found[i] += len(positions) if part.alive is None else int(np.count_nonzero(part.alive[positions]))
    return found


def _matching(
    part: Part,
    row: Sequence[Occurrences],
    weights: Sequence[float],
    k: int,
    allowed: Keys | None,
    least: float,
) -> Scored:
    """The best of one segment, of those that score at least `least`."""
    scores = np.zeros(len(part.norms))
    for (positions, counts), weight in zip(row, weights, strict=True):
        at = positions.astype(np.intp)  # once: indexing converts to this each time
        np.add.at(scores, at, weight * bm25.saturation(counts.astype(np.float64), part.norms[at]))
    if min(weights, default=1.0) > 0.0:
        matched = np.flatnonzero(scores > max(0.0, least - _SLACK))
    else:
        matched = np.unique(np.concatenate([positions for positions, _ in row]))
    if part.alive is not None:
        matched = matched[part.alive[matched]]
    if allowed is not None:
        matched = matched[np.isin(part.segment.keys[matched], allowed, assume_unique=True)]
    scores = scores[matched]
    if len(matched) > k:
        good = scores >= np.partition(scores, -k)[-k] - _SLACK
        matched, scores = matched[good], scores[good]
    return part.segment.keys[matched], np.round(scores, SCORE_DECIMALS)

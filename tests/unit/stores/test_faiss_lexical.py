"""The lexical search of a segment finds what scoring every chunk finds, to the last digit, whatever it skips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval import bm25
from retrieval.stores import postings
from retrieval.stores.faiss import lexical
from retrieval.stores.postings import Postings, term_hash

# From rare to frequent, as words are: the n-th is in about one of n + 1 chunks of its turn.
WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]


def made(count: int, seed: int) -> Postings:
    rng = np.random.default_rng(seed)
    texts = [
        " ".join(
            word for i, word in enumerate(WORDS) for _ in range(rng.integers(0, 2 + i)) if rng.random() < (i + 1) / 9
        )
        for _ in range(count)
    ]
    return postings.build(np.arange(count, dtype=np.int64), texts, terms=str.split)


def every(index: Postings, weights: list[tuple[int, float]], average: float) -> NDArray[np.float64]:
    """Scores of all chunks, each term added in turn."""
    norms = bm25.length_norm(index.lengths.astype(np.float64), average)
    scores = np.zeros(len(index))
    for term, weight in weights:
        part = index.of(term)
        positions = index.positions[part]
        scores[positions] += weight * bm25.saturation(index.counts[part].astype(np.float64), norms[positions])
    return scores


INDEXES = [made(count, seed) for seed, count in enumerate((1, 7, 60, 900))]


@settings(max_examples=300, deadline=None)
@given(
    index=st.sampled_from(INDEXES),
    weights=st.dictionaries(
        st.sampled_from([*WORDS, "nowhere"]), st.floats(0.01, 9.0), min_size=1, max_size=len(WORDS)
    ),
    k=st.integers(1, 120),
    share=st.sampled_from([None, 0.9, 0.3, 0.02, 0.0]),
    floor=st.sampled_from([0.0, 3.0]),
    worth=st.sampled_from([0, 50, 10**9]),
)  # fmt: skip
def test_the_best_are_those_of_scoring_all(
    index: Postings, weights: dict[str, float], k: int, share: float | None, floor: float, worth: int
) -> None:
    """The k best with all that tie, but for those below the floor; equal to the last digit."""
    average = float(index.lengths.mean())
    hashed = [(term_hash(word), weight) for word, weight in sorted(weights.items())]
    mask = None if share is None else np.random.default_rng(5).random(len(index)) < share
    scores = every(index, hashed, average)
    allowed = scores if mask is None else np.where(mask, scores, 0.0)
    norms = bm25.length_norm(index.lengths.astype(np.float64), average).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "_WORTH", worth)
        positions, found = lexical.best(index, hashed, norms, average=average, k=k, mask=mask, floor=floor)
    np.testing.assert_array_equal(found, scores[positions])
    assert len(set(positions.tolist())) == len(positions)
    matching = np.flatnonzero(allowed)
    worst = max(floor, np.sort(allowed[matching])[-k]) if len(matching) >= k else floor
    assert (
        set(np.flatnonzero(allowed >= max(worst, 1e-9)).tolist()) <= set(positions.tolist()) <= set(matching.tolist())
    )


def test_frequent_terms_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A term in nearly all chunks beside a rare one is looked up for few, not added up for all."""
    count = 5000
    texts = ["the" if i % 100 else "the pump" for i in range(count)]
    index = postings.build(np.arange(count, dtype=np.int64), texts, terms=str.split)
    norms = np.ones(count, dtype=np.float32)
    looked_up: list[int] = []
    lookup = lexical._lookup

    def watched(index: Postings, part: slice, candidates: NDArray[np.int64]) -> object:
        looked_up.append(len(candidates))
        return lookup(index, part, candidates)

    monkeypatch.setattr(lexical, "_lookup", watched)
    weights = [(term_hash("pump"), 4.0), (term_hash("the"), 0.01)]
    positions, _ = lexical.best(index, weights, norms, average=1.0, k=5, mask=None, floor=0.0)
    assert set(positions.tolist()) == set(range(0, count, 100))
    assert max(looked_up) == count // 100

"""Fusion against values computed by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import fusion
from retrieval.records import Hit

DENSE = [Hit("a", 0.9), Hit("b", 0.5), Hit("c", 0.1)]
LEXICAL = [Hit("c", 12.0), Hit("d", 2.0)]


def test_rrf_adds_reciprocal_ranks() -> None:
    """C is third and first: 1/63 + 1/61."""
    fused = fusion.rrf([DENSE, LEXICAL])
    assert [hit.chunk_id for hit in fused] == ["c", "a", "b", "d"]
    assert fused[0].score == pytest.approx(1 / 63 + 1 / 61)


def test_rrf_breaks_ties_by_id() -> None:
    """Two chunks that were each second somewhere."""
    fused = fusion.rrf([[Hit("x", 1), Hit("b", 0)], [Hit("x", 1), Hit("a", 0)]])
    assert [hit.chunk_id for hit in fused] == ["x", "a", "b"]


def test_convex_with_min_max() -> None:
    """Scores are stretched to 0..1; what a ranking lacks is at its bottom."""
    fused = {hit.chunk_id: hit.score for hit in fusion.convex([DENSE, LEXICAL], [0.5, 0.5])}
    assert fused == {"a": 0.5, "b": 0.25, "c": 0.5, "d": 0.0}


def test_convex_scales_weights() -> None:
    """3:1 is 0.75 to 0.25."""
    fused = {hit.chunk_id: hit.score for hit in fusion.convex([DENSE, LEXICAL], [3, 1])}
    assert fused["a"] == pytest.approx(0.75)
    assert fused["c"] == pytest.approx(0.25)


def test_convex_with_z_scores() -> None:
    """Mean 0 and deviation 1 within each ranking."""
    fused = {hit.chunk_id: hit.score for hit in fusion.convex([DENSE], [1.0], normalization="z-score")}
    assert fused["b"] == pytest.approx(0.0)
    assert fused["a"] == pytest.approx(1.2247, abs=1e-4)


@pytest.mark.parametrize("normalization", ["min-max", "z-score", "none"])
def test_one_ranking_alone_keeps_its_order(normalization: fusion.Normalization) -> None:
    """With nothing on the other side, fusion changes nothing."""
    fused = fusion.convex([LEXICAL, []], [0.5, 0.5], normalization=normalization)
    assert [hit.chunk_id for hit in fused] == ["c", "d"]


def test_equal_scores_are_all_best() -> None:
    """Min-max of a constant: found is better than not found."""
    fused = {hit.chunk_id: hit.score for hit in fusion.convex([[Hit("a", 3.0), Hit("b", 3.0)], DENSE], [0.5, 0.5])}
    assert fused["a"] == pytest.approx(1.0)


def test_nothing_fuses_to_nothing() -> None:
    """No hits anywhere: an empty ranking."""
    assert fusion.rrf([[], []]) == fusion.convex([[], []], [1, 1]) == []


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    """One per ranking, none negative, not all zero."""
    with pytest.raises(ValueError, match="one weight >= 0 per ranking"):
        fusion.convex([DENSE, LEXICAL], weights)


@given(st.floats(-1e6, 1e6), st.integers(1, 60))
def test_equal_values_standardise_to_zeros(value: float, count: int) -> None:
    """Also where their mean is not quite their value: else the noise of adding up would be one deviation."""
    assert fusion.standardised([value] * count) == [0.0] * count


def test_a_signal_that_says_nothing_leaves_the_order() -> None:
    """A reranker with one score for all, alone: the order is that of before, not that of the ids."""
    assert [hit.chunk_id for hit in fusion.blend([Hit("b", 3.0), Hit("a", 2.0)], [(1.0, [0.5, 0.5])])] == ["b", "a"]


def test_what_is_not_blended_follows_at_its_distance() -> None:
    """Of equal hits three are blended; the fourth, a little lower before, is a little lower afterwards."""
    hits = [Hit("a", 0.1), Hit("b", 0.1), Hit("c", 0.1), Hit("d", 0.05)]
    blended = fusion.blend(hits, [(0.35, [1.0, 2.0, 3.0])])
    assert [hit.chunk_id for hit in blended] == ["c", "b", "a", "d"]
    assert blended[2].score - blended[3].score == pytest.approx(0.05)


def test_what_is_known_to_score_nothing_is_added_at_zero() -> None:
    """Behind the hits, in the order of the other ranking, each once."""
    assert fusion.with_zeros(LEXICAL, DENSE) == [*LEXICAL, Hit("a", 0.0), Hit("b", 0.0)]

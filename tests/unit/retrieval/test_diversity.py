"""Marginal relevance, caps and near-duplicates: what they promise for any hits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.diversity import Duplicate, cap_per_document, mmr, near_duplicates
from retrieval.ports import Vectors
from retrieval.records import Hit
from tests.fakes import FakeEmbedder

_SENTENCES = [f"The harbour master of station {name} keeps a log of every ship that calls." for name in "abcdef"]


def _doc(chunk_id: str) -> str:
    return chunk_id.partition(":")[0]


@st.composite
def _ranked(draw: st.DrawFn) -> tuple[list[Hit], Vectors]:
    scores = sorted(draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, -3.0]), max_size=12)), reverse=True)
    made = [Hit(f"d{i % 3}:{i:02d}", score) for i, score in enumerate(scores)]
    hits = sorted(made, key=lambda hit: (-hit.score, hit.chunk_id))
    rows = draw(st.lists(st.sampled_from(range(5)), min_size=len(hits), max_size=len(hits)))
    return hits, np.eye(5, dtype=np.float32)[rows].reshape(len(hits), 5)


@given(_ranked(), st.integers(1, 15), st.floats(0, 1))
def test_mmr_chooses_k_of_the_hits_the_best_first(ranked: tuple[list[Hit], Vectors], k: int, weight: float) -> None:
    """Nothing invented, nothing twice, scores untouched, and what ranks first stays first."""
    hits, vectors = ranked
    chosen = mmr(hits, vectors, k=k, weight=weight)
    assert len(chosen) == min(k, len(hits))
    assert set(chosen) <= set(hits)
    assert len(set(chosen)) == len(chosen)
    assert chosen[:1] == hits[:1]


@given(_ranked(), st.integers(1, 15))
def test_mmr_with_all_weight_on_relevance_is_the_ranking(ranked: tuple[list[Hit], Vectors], k: int) -> None:
    """A weight of 1 changes nothing."""
    hits, vectors = ranked
    assert mmr(hits, vectors, k=k, weight=1.0) == hits[:k]


@given(_ranked(), st.randoms(use_true_random=False), st.floats(0, 1))
def test_mmr_does_not_depend_on_the_order_given(
    ranked: tuple[list[Hit], Vectors], random: np.random.Generator, weight: float
) -> None:
    """Equal scores are told apart by chunk_id alone."""
    hits, vectors = ranked
    order = list(range(len(hits)))
    random.shuffle(order)
    shuffled = mmr([hits[i] for i in order], vectors[order], k=5, weight=weight)
    assert shuffled == mmr(hits, vectors, k=5, weight=weight)


def test_mmr_prefers_what_is_not_there_yet() -> None:
    """The second best is the first again; the third best is something else."""
    hits = [Hit("a:0", 1.0), Hit("b:0", 0.9), Hit("c:0", 0.5), Hit("d:0", 0.0)]
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    assert [hit.chunk_id for hit in mmr(hits, vectors, k=2, weight=0.5)] == ["a:0", "c:0"]


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_mmr_refuses_a_weight_that_is_none(weight: float) -> None:
    """Outside 0..1, or no number."""
    with pytest.raises(ValueError, match="weight"):
        mmr([Hit("a:0", 1.0)], np.ones((1, 2), np.float32), k=1, weight=weight)


@given(_ranked(), st.integers(1, 4))
def test_the_cap_keeps_the_best_of_each_document(ranked: tuple[list[Hit], Vectors], cap: int) -> None:
    """At most `cap` each, in their order, and never one that is worse than one left out."""
    hits, _ = ranked
    kept = cap_per_document(hits, _doc, cap)
    for doc_id in {_doc(hit.chunk_id) for hit in hits}:
        mine = [hit for hit in hits if _doc(hit.chunk_id) == doc_id]
        assert [hit for hit in kept if _doc(hit.chunk_id) == doc_id] == mine[:cap]
    assert kept == [hit for hit in hits if hit in kept]


def test_the_cap_is_at_least_one() -> None:
    """A cap of none would be an empty result."""
    with pytest.raises(ValueError, match="cap = 0"):
        cap_per_document([], _doc, 0)


def _duplicates(*texts: str, cosine: float = 0.99) -> dict[str, str]:
    """Of texts whose vectors all have this cosine."""
    n = len(texts)
    gram = np.full((n, n), cosine) + np.eye(n) * (1 - cosine)
    vectors = np.linalg.cholesky(gram).astype(np.float32)
    hits = [Hit(f"d{i}:000000", 1.0 - i / 100) for i in range(n)]
    return {found.chunk_id[:2]: found.of[:2] for found in near_duplicates(hits, vectors, texts)}


LONG = (
    "the keeper of the light checks the lamp at dusk and writes the hour into the book that lies beside the stairs; "
    "when the lamp fails he lights the spare one and calls the station on the mainland so that ships are warned in "
    "time and a mechanic comes over with the morning boat, as the rules of the service have asked for since the tower "
    "was put up on the outer rock"
)


def test_the_same_text_is_a_duplicate_whatever_its_spacing_and_case() -> None:
    """Even where the vectors say nothing: two copies under different titles."""
    assert _duplicates("Ships call.\nDaily", "ships  call. daily", "Ships call.", cosine=0.1) == {"d1": "d0"}


def test_a_long_text_with_one_word_changed_is_a_duplicate() -> None:
    """Another edition of the same page."""
    assert _duplicates(LONG, LONG.replace("spare", "other")) == {"d1": "d0"}


def test_texts_alike_in_words_alone_are_none() -> None:
    """The vectors have to agree."""
    assert _duplicates(LONG, LONG.replace("spare", "other"), cosine=0.9) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dusk", "18:30"),
        ("the mainland", "Brixholm"),
        ("is", "is not"),
        ("fails", "doesn't"),
        ("the lamp at", "LMP_7 at"),
    ],
)
def test_a_number_a_name_or_a_negation_makes_a_difference(old: str, new: str) -> None:
    """One word decides, however long the text."""
    assert _duplicates(f"{LONG} {LONG} It is {old}.", f"{LONG} {LONG} It is {new}.") == {}


def test_rows_of_a_table_are_not_merged() -> None:
    """They embed alike and differ in their figures."""
    rows = [f"| {LONG} | {amount} | {amount + 1} |" for amount in (12, 13, 14)]
    assert _duplicates(*rows) == {}


def test_short_texts_with_another_word_are_not_merged() -> None:
    """Nothing is left out for a common pattern."""
    assert _duplicates("The door is open.", "The door is shut.") == {}


def test_a_duplicate_names_the_best_of_its_kind() -> None:
    """Three copies: both lower ones point at the first, which is kept; with the cosine, for people."""
    hits = [Hit("c:0", 3.0), Hit("a:0", 2.0), Hit("b:0", 1.0)]
    vectors = FakeEmbedder().embed_documents(["x y", "x y", "x y"])
    assert near_duplicates(hits, vectors, ["x y", "X y", "x  y"]) == [
        Duplicate("a:0", "c:0", 1.0, exact=True),
        Duplicate("b:0", "c:0", 1.0, exact=True),
    ]


def test_a_copy_of_a_near_duplicate_is_not_said_to_be_the_same_text() -> None:
    """It differs from the best by a word, as the one does that it is a copy of."""
    other = LONG.replace("spare", "other")
    hits = [Hit("a:0", 3.0), Hit("b:0", 2.0), Hit("c:0", 1.0)]
    vectors = np.array([[1, 0], [0.98, 0.2], [0.98, 0.2]], dtype=np.float32)
    found = near_duplicates(hits, vectors, [LONG, other, other])
    assert [(one.of, one.cosine, one.exact) for one in found] == [("a:0", 0.98, False)] * 2


@given(st.lists(st.sampled_from([*_SENTENCES, LONG, "", "»", "犬の料金"]), max_size=8))
def test_what_is_kept_has_no_duplicates(texts: list[str]) -> None:
    """Once they are left out there are none, and every text is still there once."""
    hits = [Hit(f"d{i}:0", float(-i)) for i in range(len(texts))]
    vectors = FakeEmbedder().embed_documents(texts) if texts else np.zeros((0, 64), np.float32)
    gone = {found.chunk_id for found in near_duplicates(hits, vectors, texts)}
    kept = [i for i, hit in enumerate(hits) if hit.chunk_id not in gone]
    assert near_duplicates([hits[i] for i in kept], vectors[kept], [texts[i] for i in kept]) == []
    assert {texts[i] for i in kept} == set(texts)


def test_counts_must_agree() -> None:
    """A vector too few would be compared with the wrong text."""
    with pytest.raises(ValueError, match="1 hits, 0 vectors, 1 texts"):
        near_duplicates([Hit("a:0", 1.0)], np.zeros((0, 2), np.float32), ["x"])

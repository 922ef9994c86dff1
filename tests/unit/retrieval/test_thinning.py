"""From a ranking to the k results, and what is said of those that were left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.ports import Vectors
from retrieval.records import Chunk, DocumentInfo, Hit, StoredChunk, doc_id_of
from retrieval.settings import RetrievalSettings
from retrieval.thinning import SPARE, thin
from retrieval.trace import Trace


class Shelf:
    """Chunks by id, each with a text of its own unless `texts` has one, and a vector by its text."""

    def __init__(self, texts: dict[str, str] | None = None) -> None:
        self.texts = texts or {}
        self.read_ids: list[str] = []

    def text(self, chunk_id: str) -> str:
        return self.texts.get(chunk_id, f"about {chunk_id}")

    def read(self, chunk_ids: Sequence[str]) -> list[StoredChunk]:
        self.read_ids += chunk_ids
        return [_stored(chunk_id, self.text(chunk_id)) for chunk_id in chunk_ids]

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        known = sorted({self.text(chunk_id) for chunk_id in chunk_ids})
        return np.eye(len(known), dtype=np.float32)[[known.index(self.text(chunk_id)) for chunk_id in chunk_ids]]


def _stored(chunk_id: str, text: str) -> StoredChunk:
    doc_id = doc_id_of(chunk_id)
    document = DocumentInfo(doc_id, "v", f"file:///{doc_id}", "", "text/plain", len(text), None, {})
    return StoredChunk(Chunk(chunk_id, doc_id, "v", 0, 0, len(text), text), document)


def ranking(*chunk_ids: str) -> list[Hit]:
    return [Hit(chunk_id, 100.0 - place) for place, chunk_id in enumerate(chunk_ids)]


def of(doc_id: str, count: int) -> list[str]:
    return [f"{doc_id}:{ordinal:06d}" for ordinal in range(count)]


def thinned(hits: Sequence[Hit], k: int, shelf: Shelf | None = None, **settings: Any) -> tuple[list[str], Trace]:
    trace, shelf = Trace(), shelf or Shelf()
    view: Any = shelf
    kept = thin(view, hits, k=k, settings=RetrievalSettings(**settings), read=shelf.read, trace=trace)
    return [hit.chunk_id for hit in kept], trace


def test_with_every_stage_off_it_is_the_first_k() -> None:
    """Nothing is read, nothing is removed."""
    shelf = Shelf()
    kept, trace = thinned(ranking(*of("a", 5)), 3, shelf, deduplicate=False)
    assert kept == of("a", 3)
    assert not trace.removed
    assert not shelf.read_ids


def test_copies_make_room_for_others() -> None:
    """Of three copies the best stays, and the reason names it."""
    shelf = Shelf({"a:000000": "Same.", "b:000000": "same.", "c:000000": "Same."})
    kept, trace = thinned(ranking("a:000000", "b:000000", "d:000000", "c:000000", "e:000000"), 3, shelf)
    assert kept == ["a:000000", "d:000000", "e:000000"]
    assert trace.removed == dict.fromkeys(("b:000000", "c:000000"), ("duplicates", "the same text as a:000000"))


def test_copies_are_kept_when_they_may_be() -> None:
    """The setting is off."""
    shelf = Shelf({"a:000000": "Same.", "b:000000": "Same."})
    assert thinned(ranking("a:000000", "b:000000"), 2, shelf, deduplicate=False)[0] == ["a:000000", "b:000000"]


def test_only_as_many_are_compared_as_it_takes() -> None:
    """Two results need no look at the hundredth candidate."""
    shelf = Shelf()
    thinned(ranking(*of("a", 100)), 2, shelf)
    assert set(shelf.read_ids) == set(of("a", 2 + SPARE))


def test_many_copies_at_the_top_do_not_shorten_the_result() -> None:
    """More of them than are looked at in one go."""
    copies, others = of("copies", 90), of("others", 3)
    kept, _ = thinned(ranking(*copies, *others), 3, Shelf(dict.fromkeys(copies, "Same.")))
    assert kept == [copies[0], *others[:2]]


@pytest.mark.parametrize("count", [24, 25, 40, 100])
def test_a_cap_reaches_past_one_document_however_long(count: int) -> None:
    """All first candidates are different chunks of one document; the look for duplicates goes on behind them."""
    kept, _ = thinned(ranking(*of("long", count), "b:000000", "c:000000"), 3, per_document=1)
    assert kept == ["long:000000", "b:000000", "c:000000"]


def test_a_cap_says_why() -> None:
    """Of what ranks above a result; the document has its share in the results."""
    kept, trace = thinned(ranking(*of("a", 3), *of("b", 3)), 3, per_document=2)
    assert kept == ["a:000000", "a:000001", "b:000000"]
    assert trace.removed == {"a:000002": ("per-document", "'a' has 2 better ones already")}


def test_a_cap_is_no_reason_below_the_results() -> None:
    """A document that has no result has not too many of them."""
    _, trace = thinned(ranking("a:000000", *of("b", 3)), 1, per_document=1)
    assert not trace.removed


def test_a_cap_is_the_reason_when_results_are_too_few() -> None:
    """One document is all there is: one result, though three were asked for."""
    kept, trace = thinned(ranking(*of("a", 3)), 3, per_document=1)
    assert kept == ["a:000000"]
    assert set(trace.removed) == {"a:000001", "a:000002"}


def test_diversity_prefers_what_is_not_said_yet() -> None:
    """The second best is like the first, and the third is not; the reason is told."""
    shelf = Shelf({"a:000000": "x", "b:000000": "x"})
    hits = ranking("a:000000", "b:000000", "c:000000", "d:000000")
    kept, trace = thinned(hits, 2, shelf, deduplicate=False, diversity=0.6)
    assert kept == ["a:000000", "c:000000"]
    assert {chunk_id: stage for chunk_id, (stage, _) in trace.removed.items()} == {"b:000000": "diversity"}


_CHUNK_IDS = [chunk_id for doc_id in "abc" for chunk_id in of(doc_id, 12)]


@given(
    st.permutations(_CHUNK_IDS),
    st.lists(st.sampled_from(["x", "y", "z", ""]), min_size=len(_CHUNK_IDS), max_size=len(_CHUNK_IDS)),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_what_is_left_out_above_a_result_has_a_reason(
    order: list[str], texts: list[str], k: int, deduplicate: bool, cap: int, diversity: float
) -> None:
    """Whatever is switched on; and no result is a copy, in excess of the cap, or twice."""
    shelf = Shelf({chunk_id: text for chunk_id, text in zip(_CHUNK_IDS, texts, strict=True) if text})
    settings: dict[str, Any] = {"deduplicate": deduplicate, "per_document": cap, "diversity": diversity}
    kept, trace = thinned(ranking(*order), k, shelf, **settings)
    lowest = max(map(order.index, kept)) if len(kept) == k else len(order)
    assert set(order[:lowest]) <= {*kept, *trace.removed}
    assert len(set(kept)) == len(kept) <= k
    assert not set(kept) & set(trace.removed)
    documents = [doc_id_of(chunk_id) for chunk_id in kept]
    assert not cap or all(documents.count(doc_id) <= cap for doc_id in documents)
    assert not deduplicate or len({shelf.text(chunk_id) for chunk_id in kept}) == len(kept)

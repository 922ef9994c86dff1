"""The stages that rank: what each brings, and that one that is switched off is as if it were not there."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from retrieval import fusion
from retrieval.build import build_collections, build_embedders
from retrieval.errors import RerankerError, RerankerUnavailable
from retrieval.ports import VectorStore
from retrieval.records import Hit, QueryPlan, Retrieval, StoredChunk, Turn
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

PLAIN: dict[str, Any] = {"feedback_weight": 0.0, "late_weight": 0.0, "title_weight": 0.0, "deduplicate": False}
"""The two searches and fusion, nothing else."""

TEXTS = {
    "pumps": ["The pump runs at 40 bar.", "The pump is started by hand.", "A pump of cast iron."],
    "seals": ["The seal of the pump lasts a year.", "A seal that leaks is replaced."],
    "rules": ["Leave is asked for in writing.", "A gauge is read at noon."],
}


def opened(texts: dict[str, list[str]], *, token_code: str = "fake") -> VectorStore:
    embedder = FakeEmbedder(token_code=token_code)
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=embedder.info, token_code=token_code)
    store = collections.open("c", writable=True)
    store.replace([replacement(doc_id, held, embedder=embedder) for doc_id, held in texts.items()])
    return store


def titled(titles: dict[str, str]) -> VectorStore:
    """Documents of one sentence, that differ in their titles alone."""
    store = opened({})
    embedder = FakeEmbedder(token_code="fake")
    made = [replacement(doc_id, ["It turns."], embedder=embedder, title=title) for doc_id, title in titles.items()]
    store.replace(made)
    return store


def retrieve(
    store: VectorStore, query: str, *, reranker: Any = None, planner: Any = None, k: int = 20, **settings: Any
) -> Retrieval:
    embedders = build_embedders(RetrievalSettings(), FakeEmbedder(token_code="fake"))
    retriever = Retriever(store, embedders, RetrievalSettings(**settings), reranker=reranker, planner=planner)
    return retriever.retrieve(query, k=k, explain=True)


def order(found: Retrieval) -> list[str]:
    return [scored.chunk.chunk_id for scored in found.chunks]


def stages(found: Retrieval) -> tuple[str, ...]:
    assert found.explanation is not None
    return found.explanation.stages


def test_plain_settings_are_two_searches_and_their_fusion() -> None:
    """No stage that is off ran, and none left a trace or took time."""
    found = retrieve(opened(TEXTS), "the pump", **PLAIN)
    assert stages(found) == ("lexical", "dense", "fused")
    assert found.timings.keys() == {"embed", "lexical", "dense", "fuse", "fetch"}


@pytest.mark.parametrize("mode", ["dense", "lexical"])
def test_one_mode_is_one_search(mode: Any) -> None:
    """Its ranking is the result, scores included; feedback needs both."""
    found = retrieve(opened(TEXTS), "the pump", **{**PLAIN, "mode": mode, "feedback_weight": 0.5})
    assert stages(found) == (mode, "fused")
    assert all(scored.score == scored.stages[mode] for scored in found.chunks)


@pytest.mark.parametrize("normalization", ["z-score", "min-max", "none"])
def test_the_only_chunk_with_a_word_is_first_for_it(normalization: Any) -> None:
    """A ranking of one hit says that all others have nothing of the query, though by itself it has no spread."""
    texts = {f"d{number:02d}": [f"Code {number} of the {'old ' * number} device."] for number in range(20)}
    store = opened({**texts, "long": ["The fault that is told as QX7Z when the device is old and what to do then."]})
    settings = {**PLAIN, "normalization": normalization}
    found = retrieve(store, "qx7z", **settings)
    assert order(found)[0] == "long:000000"
    assert found.chunks[0].score > found.chunks[1].score + 0.1


FAR = "filler words that a query does not have make vectors differ and counts small "
LATE = {"a": ["pump pump pump valve"], "b": [f"pump valve seal {FAR}"], "c": [f"{FAR} {FAR}"]}


def test_late_interaction_reorders() -> None:
    """A chunk with all words of the query comes before one that repeats some of them."""
    store = opened(LATE)
    settings = {**PLAIN, "mode": "dense"}
    assert order(retrieve(store, "pump valve seal", **settings))[0] == "a:000000"
    found = retrieve(store, "pump valve seal", **{**settings, "late_weight": 0.9})
    assert order(found)[0] == "b:000000"
    assert stages(found) == ("dense", "fused", "late", "blended")


def test_late_interaction_compares_the_first_alone() -> None:
    """The third stays where fusion had it, and its score stays below theirs."""
    store = opened(TEXTS)
    before = order(retrieve(store, "the pump seal", **PLAIN))
    found = retrieve(store, "the pump seal", **{**PLAIN, "late_weight": 0.9, "late_candidates": 2})
    assert order(found)[2:] == before[2:]
    assert set(order(found)[:2]) == set(before[:2])
    assert [("late" in scored.stages) for scored in found.chunks] == [True, True, *[False] * (len(before) - 2)]
    scores = [scored.score for scored in found.chunks]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("token_code", ["", "another-code"])
def test_an_edition_without_token_vectors_to_compare_ranks_without(token_code: str) -> None:
    """It has none, or they are in a code that the embedder does not read: as if late interaction were off."""
    store = opened(TEXTS, token_code=token_code)
    found = retrieve(store, "the pump", **{**PLAIN, "late_weight": 0.9})
    assert stages(found) == ("lexical", "dense", "fused")
    assert order(found) == order(retrieve(store, "the pump", **PLAIN))


def test_titles_lift_what_they_name() -> None:
    """Two chunks alike in all but their titles; the one whose title has more of the query comes first."""
    store = titled({"a": "Notes on boats", "b": "Turbine handbook"})
    found = retrieve(store, "turbine", **{**PLAIN, "title_weight": 0.1})
    assert stages(found)[-2:] == ("title", "blended")
    assert [(scored.chunk.doc_id, scored.stages["title"]) for scored in found.chunks] == [("b", 1.0), ("a", 0.0)]


def test_titles_that_all_say_the_same_change_nothing() -> None:
    """Equal shares are equal to the last bit, in whatever order their terms come."""
    words = "pump valve seal gauge handbook station coolant torque bearing iron oil lever".split()
    store = titled({f"d{turn:02d}": " ".join(words[turn:] + words[:turn]) for turn in range(len(words))})
    query = " ".join(words[:9]) + " elsewhere"
    found = retrieve(store, query, **{**PLAIN, "title_weight": 0.1})
    assert order(found) == order(retrieve(store, query, **PLAIN))
    assert len({scored.stages["title"] for scored in found.chunks}) == 1


def test_neighbours_lift_each_other() -> None:
    """A chunk beside a good one passes a lone one that was better."""
    store = opened({"a": ["pump valve seal", f"pump {FAR}"], "b": ["valve lever seal"]})
    settings = {**PLAIN, "mode": "dense"}
    assert order(retrieve(store, "pump valve seal", **settings)) == ["a:000000", "b:000000", "a:000001"]
    found = retrieve(store, "pump valve seal", **{**settings, "neighbour_weight": 1.0})
    assert order(found) == ["a:000000", "a:000001", "b:000000"]
    assert stages(found)[-1] == "neighbours"
    gained = {s.chunk.chunk_id: s.stages["neighbours"] - s.stages["fused"] for s in found.chunks}
    floor = min(s.stages["fused"] for s in found.chunks)
    best = next(s.stages["fused"] for s in found.chunks if s.chunk.chunk_id == "a:000000")
    assert gained["a:000001"] == pytest.approx(best - floor)
    assert gained["b:000000"] == 0.0


def test_feedback_searches_again() -> None:
    """The second dense ranking is of another vector; the first one is kept for the explanation."""
    found = retrieve(opened(TEXTS), "the pump", **{**PLAIN, "feedback_weight": 0.8, "feedback_chunks": 1})
    assert stages(found) == ("lexical", "dense", "feedback", "fused")
    first = found.chunks[0].stages
    assert first["feedback"] > first["dense"]


@pytest.mark.parametrize(
    "query", ["the of and", "?!", "\u200b", "🎉", "x", "犬の料金", "[CLS]", "(" * 9_999, "x " * 5_000]
)
@pytest.mark.parametrize("mode", ["hybrid", "lexical", "dense"])
def test_odd_queries_are_answered(query: str, mode: Any) -> None:
    """Without a term, a letter or a word: what the searches find, by scores that are numbers."""
    found = retrieve(opened(TEXTS), query, mode=mode, title_weight=0.1, neighbour_weight=0.5)
    assert all(math.isfinite(scored.score) for scored in found.chunks)
    assert bool(found.chunks) == (mode != "lexical")


def test_a_collection_of_one_chunk_is_its_own_ranking() -> None:
    """Nothing to standardise against, with every stage on."""
    found = retrieve(opened({"a": ["pump"]}), "pump", title_weight=0.1, neighbour_weight=1.0, diversity=0.5, k=3)
    assert [(scored.chunk.chunk_id, scored.score) for scored in found.chunks] == [("a:000000", 0.0)]


class Parts:
    """A planner that gives the same parts for every question."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def plan(self, query: str, *, history: Sequence[Turn] = (), language: str = "english") -> QueryPlan:
        return QueryPlan(query, parts=self._parts, planner="parts")


def test_parts_of_a_question_are_fused_by_rank() -> None:
    """With the ranking of the whole question; each is a stage of its own."""
    store = opened(TEXTS)
    queries = ("pump or gauge", "the pump", "the gauge")
    found = retrieve(store, queries[0], planner=Parts(*queries[1:]), **PLAIN)
    alone = [[Hit(chunk_id, 0.0) for chunk_id in order(retrieve(store, query, **PLAIN))] for query in queries]
    assert order(found) == [hit.chunk_id for hit in fusion.rrf(alone)]
    assert stages(found)[-3:] == ("part 1", "part 2", "parts")


def test_each_part_brings_candidates_of_its_own() -> None:
    """With one candidate per search, the answer to the second part comes from that part alone."""
    store = opened(TEXTS)
    settings = {**PLAIN, "candidates": 1}
    assert "rules:000001" not in order(retrieve(store, "the pump", k=1, **settings))
    found = retrieve(store, "the pump", planner=Parts("the pump", "read a gauge at noon"), k=1, **settings)
    assert found.explanation is not None
    assert "rules:000001" in {trace.chunk_id for trace in found.explanation.candidates}


class Scores:
    """A reranker that gives what it is told to, or raises it, and keeps what it was asked."""

    name = "scores"

    def __init__(self, *scores: float, error: Exception | None = None) -> None:
        self._scores = scores
        self._error = error
        self.asked: list[list[str]] = []

    def rerank(self, query: str, chunks: Sequence[StoredChunk], *, snapshot: Any) -> list[float]:
        self.asked.append([found.chunk.chunk_id for found in chunks])
        if self._error:
            raise self._error
        return [*self._scores]


def test_a_reranker_orders_the_first_alone() -> None:
    """The others follow as they were."""
    store = opened(TEXTS)
    before = order(retrieve(store, "the pump", **PLAIN))
    reranker = Scores(1.0, 2.0, 3.0)
    found = retrieve(store, "the pump", reranker=reranker, rerank_candidates=3, **PLAIN)
    assert reranker.asked == [before[:3]]
    assert order(found) == [*before[2::-1], *before[3:]]
    assert stages(found)[-2:] == ("rerank", "reranked")


def test_a_reranker_without_an_opinion_leaves_the_order() -> None:
    """One score for all, and all the weight on it."""
    store = opened(TEXTS)
    reranker = Scores(0.5, 0.5, 0.5)
    found = retrieve(store, "a seal", reranker=reranker, rerank_candidates=3, **PLAIN)
    assert order(found) == order(retrieve(store, "a seal", **PLAIN))


@pytest.mark.parametrize(
    ("reranker", "message"),
    [
        (Scores(error=RerankerUnavailable("the server is away")), "the server is away"),
        (Scores(1.0), "1 scores for 3 chunks"),
        (Scores(1.0, 2.0, 3.0, 4.0), "4 scores for 3 chunks"),
        (Scores(1.0, math.nan, 2.0), "nan"),
        (Scores(1.0, math.inf, 2.0), "inf"),
        (Scores(1.0, -1e200, 2.0), "-1e\\+200"),
    ],
    ids=["unavailable", "too few", "too many", "nan", "inf", "huge"],
)
def test_a_reranker_that_fails(reranker: Scores, message: str) -> None:
    """The query fails; or, where it need not have one, it is answered in the order of before, and says so."""
    store = opened(TEXTS)
    settings = {**PLAIN, "rerank_candidates": 3}
    with pytest.raises(RerankerError, match=message):
        retrieve(store, "the pump", reranker=reranker, **settings)
    found = retrieve(store, "the pump", reranker=reranker, rerank_required=False, **settings)
    assert order(found) == order(retrieve(store, "the pump", **PLAIN))
    assert stages(found)[-1] == "fused"
    assert len(found.notes) == 1
    assert found.notes[0].startswith("not reranked: ")


def test_a_reranker_is_not_asked_about_nothing() -> None:
    """No hit, no call, no failure."""
    reranker = Scores(error=RerankerUnavailable("away"))
    assert retrieve(opened({}), "pump", reranker=reranker).chunks == ()
    assert reranker.asked == []


def test_a_reranker_whose_score_does_not_count_is_not_asked() -> None:
    """It would cost its time, or its money, for nothing."""
    reranker = Scores(error=RerankerUnavailable("away"))
    assert retrieve(opened(TEXTS), "the pump", reranker=reranker, rerank_weight=0.0).chunks
    assert reranker.asked == []


def test_copies_go_after_reranking() -> None:
    """The copy that the reranker prefers is the one that stays."""
    store = opened({"a": ["The pump."], "b": ["the  pump."], "c": ["A seal."]})
    reranker = Scores(1.0, 2.0, 0.0)
    found = retrieve(store, "the pump", reranker=reranker, rerank_candidates=3, **{**PLAIN, "deduplicate": True})
    assert order(found) == ["b:000000", "c:000000"]


def test_caps_and_diversity_hold_with_parts_and_a_reranker() -> None:
    """All of it together: one result of each document at most, each candidate with its reason."""
    found = retrieve(
        opened(TEXTS), "pump and gauge", planner=Parts("the pump", "the gauge"), reranker=Scores(3.0, 1.0, 2.0),
        rerank_candidates=3, rerank_weight=0.5, per_document=1, diversity=0.5, neighbour_weight=0.5, title_weight=0.1,
    )  # fmt: skip
    assert sorted(scored.chunk.doc_id for scored in found.chunks) == sorted(TEXTS)
    assert found.explanation is not None
    assert all(trace.rank or trace.reason for trace in found.explanation.candidates)

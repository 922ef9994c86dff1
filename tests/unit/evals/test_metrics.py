"""Metrics against values computed by hand."""

import math
import sys

import pytest

from evals.datasets import Qrel
from evals.metrics import METRICS, evaluate, library, rank_documents
from retrieval.errors import MissingExtra
from retrieval.records import Chunk, DocumentInfo, ScoredChunk

QRELS = [Qrel("q1", "a", 2), Qrel("q1", "b", 1), Qrel("q1", "x", 0), Qrel("q2", "c", 1)]


def test_values_are_those_by_hand() -> None:
    """q1 finds b at rank 1 and a at rank 3; q2 finds c at rank 2."""
    scores = evaluate(QRELS, {"q1": ["b", "x", "a"], "q2": ["x", "c"]})
    ideal = 2 / math.log2(2) + 1 / math.log2(3)  # trec_eval's gain is the judgement itself
    assert scores.per_query["q1"]["nDCG@10"] == pytest.approx((1 / math.log2(2) + 2 / math.log2(4)) / ideal)
    assert scores.per_query["q1"]["MAP"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert scores.per_query["q2"]["MRR"] == pytest.approx(0.5)
    assert scores.per_query["q2"]["nDCG@10"] == pytest.approx(1 / math.log2(3))
    assert scores.mean["MRR"] == pytest.approx((1 + 0.5) / 2)
    assert scores.mean["recall@10"] == 1.0


def test_recall_looks_as_deep_as_it_says() -> None:
    """A document at rank 11 counts for recall@100, not for recall@10."""
    scores = evaluate([Qrel("q", "a", 1)], {"q": [f"x{i}" for i in range(10)] + ["a"]})
    assert scores.mean["recall@10"] == 0.0
    assert scores.mean["recall@100"] == 1.0


def test_a_query_without_results_counts_as_zero() -> None:
    """Neither an empty ranking nor a missing one drops out of the mean."""
    for run in ({"q1": ["a", "b"], "q2": []}, {"q1": ["a", "b"]}):
        scores = evaluate(QRELS, run)
        assert scores.per_query["q2"] == dict.fromkeys(METRICS, 0.0)
        assert scores.mean["nDCG@10"] == pytest.approx(0.5)


def test_queries_without_judgements_are_left_out() -> None:
    """A ranking that nobody judged changes nothing."""
    assert evaluate(QRELS, {"q1": ["a"], "q9": ["a"]}).mean == evaluate(QRELS, {"q1": ["a"]}).mean


def test_the_order_given_is_the_order_scored() -> None:
    """Ids in descending or ascending order give the same score: ranks decide, not names."""
    down = evaluate([Qrel("q", "z", 1)], {"q": ["z", "y", "x"]})
    up = evaluate([Qrel("q", "x", 1)], {"q": ["x", "y", "z"]})
    assert down.mean == up.mean
    assert up.mean["MRR"] == 1.0


def test_no_judgements_give_zeros() -> None:
    """An empty set of judgements does not divide by zero."""
    assert evaluate([], {"q": ["a"]}).mean == dict.fromkeys(METRICS, 0.0)


def scored(doc_id: str, ordinal: int, score: float) -> ScoredChunk:
    chunk = Chunk(f"{doc_id}:{ordinal:06d}", doc_id, "v", ordinal, 0, 1, "t")
    return ScoredChunk(chunk, DocumentInfo(doc_id, "v", "uri", "title", "text/plain", 1), score)


def test_a_document_stands_where_its_best_chunk_stands() -> None:
    """Further chunks of the same document do not count twice."""
    chunks = [scored("a", 4, 0.9), scored("b", 0, 0.8), scored("a", 1, 0.7), scored("c", 0, 0.1)]
    assert rank_documents(chunks) == ["a", "b", "c"]


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base install has no metrics: the message says what to install."""
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtra, match=r"footnote\[evals\]"):
        library()

"""Measuring a retriever: what is asked, what is left out, what is kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from evals.datasets import Qrel, Query
from evals.measurement import DEPTH, SPARE, TOP, measure
from retrieval.errors import InvalidQuery, InvalidRequest
from retrieval.explanation import CandidateTrace, Explanation
from retrieval.records import Chunk, DocumentInfo, Retrieval, ScoredChunk, chunk_id
from retrieval.settings import RetrievalSettings


def chunk(doc_id: str, score: float, ordinal: int = 0) -> ScoredChunk:
    document = DocumentInfo(doc_id, "v", f"file:///{doc_id}", f"Title of {doc_id}", "text/plain", 4)
    return ScoredChunk(Chunk(chunk_id(doc_id, ordinal), doc_id, "v", ordinal, 0, 4, "text"), document, score)


class FakeRetriever:
    """Answers by query text; remembers what it was asked."""

    def __init__(self, answers: Mapping[str, list[ScoredChunk]]) -> None:
        self.settings = RetrievalSettings()
        self.answers = answers
        self.asked: list[tuple[str, int]] = []

    def retrieve(self, query: str, *, k: int, snapshot: Any, explain: bool) -> Retrieval:
        if not query.strip():
            raise InvalidQuery("the query is empty; ask something")
        self.asked.append((query, k))
        found = tuple(self.answers[query][:k])
        traces = tuple(CandidateTrace(one.chunk.chunk_id, one.chunk.doc_id, None, None, ()) for one in found)
        explanation = Explanation((), (), traces) if explain else None
        return Retrieval(query, np.zeros(2, np.float32), found, {}, explanation=explanation)


def measured(answers: Mapping[str, list[ScoredChunk]], *qrels: Qrel, **options: Any) -> Any:
    retriever: Any = FakeRetriever(answers)
    snapshot: Any = None
    queries = [Query(text, text) for text in answers]
    return measure("m", retriever, snapshot=snapshot, queries=queries, qrels=qrels, **options), retriever


def test_a_document_stands_where_its_best_chunk_does() -> None:
    """Once, with that chunk's score."""
    answers = {"q": [chunk("a", 3.0), chunk("b", 2.0), chunk("a", 1.0, 1), chunk("c", 0.5)]}
    result, _ = measured(answers, Qrel("q", "b", 1))
    assert [(found.doc_id, found.score) for found in result.rankings["q"]] == [("a", 3.0), ("b", 2.0), ("c", 0.5)]
    assert result.scores.per_query["q"]["MRR"] == 0.5


def test_the_first_question_warms_up_unmeasured() -> None:
    """It is asked twice, the others once, all to the same depth."""
    _, retriever = measured({"p": [chunk("a", 1.0)], "q": [chunk("a", 1.0)]}, Qrel("p", "a", 1), Qrel("q", "a", 1))
    assert retriever.asked == [("p", 1), ("p", DEPTH), ("q", DEPTH)]


def test_the_querys_own_document_is_left_out() -> None:
    """In sets whose queries are documents it would always be first; others take its place."""
    answers = {"d7": [chunk("d7", 9.0), chunk("d7", 8.0, 1), *(chunk(f"x{i}", 7.0 - i) for i in range(150))]}
    result, retriever = measured(answers, Qrel("d7", "x0", 1), own={"d7"})
    assert retriever.asked[1] == ("d7", DEPTH + SPARE)
    assert [found.doc_id for found in result.rankings["d7"][:2]] == ["x0", "x1"]
    assert len(result.rankings["d7"]) == DEPTH
    assert result.scores.per_query["d7"]["MRR"] == 1.0
    other, _ = measured(answers, Qrel("d7", "x0", 1))
    assert other.rankings["d7"][0].doc_id == "d7"


def test_titles_are_those_of_the_first_results() -> None:
    """Not of everything that was found."""
    result, _ = measured({"q": [chunk(f"x{i:02d}", -float(i)) for i in range(30)]}, Qrel("q", "x00", 1))
    assert len(result.titles) == TOP
    assert result.titles["x09"] == "Title of x09"


def test_explanations_keep_first_and_judged_candidates() -> None:
    """And are kept only when they were asked for."""
    answers = {"q": [chunk(f"x{i:02d}", -float(i)) for i in range(30)]}
    result, _ = measured(answers, Qrel("q", "x25", 1), explain=True)
    kept = [trace.doc_id for trace in result.explanations["q"].candidates]
    assert kept == [*(f"x{i:02d}" for i in range(TOP)), "x25"]
    assert measured(answers, Qrel("q", "x25", 1))[0].explanations == {}


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_stops(score: float) -> None:
    """It cannot be ranked, so no metric may be made of it."""
    with pytest.raises(InvalidRequest, match="query 'q': chunk 'b:000000' has the score"):
        measured({"q": [chunk("a", 1.0), chunk("b", score)]}, Qrel("q", "a", 1))


def test_a_question_that_cannot_be_asked_is_named() -> None:
    """A blank one, for instance."""
    with pytest.raises(InvalidRequest, match="query ' ': the query is empty"):
        measured({" ": []}, Qrel(" ", "a", 1))

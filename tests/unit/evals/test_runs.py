"""TREC's formats: what is written is what trec_eval and we read back; what is no run is refused."""

from pathlib import Path

import numpy as np
import pytest

from evals.datasets import Qrel
from evals.metrics import evaluate, library
from evals.runs import RankedScore, read_qrels, read_trec_run, trec_qrels, trec_run
from retrieval.errors import InvalidRequest

CLOSE = [RankedScore("b", 1.0), RankedScore("a", 1.0), RankedScore("c", 1.0 - 1e-12), RankedScore("d", 2.0)]
"""Ties, scores that single precision cannot tell apart, and one that a later stage has put below smaller ones."""


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "some.run"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_the_order_survives_the_file(tmp_path: Path) -> None:
    """Whatever the scores are, read back they are in the order that was measured."""
    path = written(tmp_path, *trec_run({"q": CLOSE}, "t"))
    assert [found.doc_id for found in read_trec_run(path)["q"]] == ["b", "a", "c", "d"]


def test_scores_that_can_be_told_apart_stay_as_they_are(tmp_path: Path) -> None:
    """At full precision."""
    ranking = [RankedScore("a", 0.1 + 0.2), RankedScore("b", 1 / 3 - 0.1), RankedScore("c", -5e-324)]
    assert read_trec_run(written(tmp_path, *trec_run({"q": ranking}, "t")))["q"] == ranking


def test_trec_eval_sees_the_same_order(tmp_path: Path) -> None:
    """pytrec_eval on the scores of the file gives what we measured on the ranking."""
    ir_measures = library()
    rng = np.random.default_rng(3)
    scores = sorted(np.round(rng.normal(0, 1e-7, 30), 8), reverse=True)  # many ties
    ranking = [RankedScore(f"d{rng.integers(1_000_000)}", float(score)) for score in scores]
    qrels = [Qrel("q", found.doc_id, 1) for found in ranking[::3]]
    path = written(tmp_path, *trec_run({"q": ranking}, "t"))
    measured = evaluate(qrels, {"q": [found.doc_id for found in ranking]}).per_query["q"]
    judged = [ir_measures.Qrel("q", qrel.doc_id, qrel.relevance) for qrel in qrels]
    (ndcg,) = ir_measures.pytrec_eval.iter_calc([ir_measures.nDCG @ 10], judged, ir_measures.read_trec_run(str(path)))
    assert ndcg.value == pytest.approx(measured["nDCG@10"])


def test_a_run_of_another_tool_is_ordered_as_trec_eval_does(tmp_path: Path) -> None:
    """By score in single precision, then by descending id; neither the order of the lines nor the rank counts."""
    path = written(
        tmp_path, "q Q0 a 1 1.0 t\n", "q Q0 c 9 1.00000000001 t\n", "\n", "q\tQ0\tb\t2\t3e0\tt\n", "p Q0 a 1 -1 t\n"
    )
    assert [found.doc_id for found in read_trec_run(path)["q"]] == ["b", "c", "a"]


@pytest.mark.parametrize("name", ["a b", "tab\there", "100%", "%20", "line\u2028end", "ünïcode", "\x1f"])
def test_ids_with_blanks_keep_their_column(tmp_path: Path, name: str) -> None:
    """In runs and in judgements."""
    run = written(tmp_path, *trec_run({name: [RankedScore(name, 1.0)]}, "t"))
    assert read_trec_run(run, quoted=True) == {name: [RankedScore(name, 1.0)]}
    qrels = written(tmp_path, *trec_qrels({name: {name: 2}}))
    assert read_qrels(qrels, quoted=True) == {name: {name: 2}}


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_not_written(score: float) -> None:
    """It has no place in a ranking."""
    with pytest.raises(InvalidRequest, match="document 'd' has the score"):
        list(trec_run({"q": [RankedScore("d", score)]}, "t"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 d 1 1.0\n", "line 1: expected 'query_id Q0 doc_id rank score tag'"),
        ("q Q0 d 1 high t\n", "line 1: expected"),
        ("q Q0 d 1 nan t\n", "line 1: the score is 'nan'"),
        ("q Q0 d 1 1.0 t\nq Q0 d 2 0.5 t\n", "line 2: document 'd' is ranked twice for 'q'"),
        ("\n\n", "is empty"),
        ('{"query_id": "q"}\n', "line 1: expected"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the line."""
    with pytest.raises(InvalidRequest, match=message):
        read_trec_run(written(tmp_path, text))


def test_a_run_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, or not text."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidRequest, match="cannot be read"):
            read_trec_run(path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match="is not UTF-8 text"):
        read_trec_run(tmp_path / "binary")


@pytest.mark.parametrize(
    "text",
    ["q1 0 d1 2\nq1 0 d2 0\n", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n", "q1\td1\t2\nq1\td2\t0\n"],
)
def test_judgements_come_in_two_formats(tmp_path: Path, text: str) -> None:
    """TREC's with four columns, BEIR's with three and perhaps a header."""
    assert read_qrels(written(tmp_path, text)) == {"q1": {"d1": 2, "d2": 0}}


@pytest.mark.parametrize(
    ("text", "message"), [("q1 d1\n", "line 1: expected"), ("q 0 d x\n", "line 1"), ("", "no judg")]
)
def test_what_are_no_judgements_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the line."""
    with pytest.raises(InvalidRequest, match=message):
        read_qrels(written(tmp_path, text))

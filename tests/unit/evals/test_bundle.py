"""Bundles: written by an evaluation, opened for a comparison; what was tampered with is refused."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.bundle import Evaluation, ranking_settings, results_folder, write_bundle
from evals.comparison.gate import compare
from evals.comparison.sides import open_sides
from evals.datasets import Qrel, Query
from evals.measurement import ModeResult
from evals.metrics import evaluate
from evals.runs import RankedScore
from retrieval.errors import InvalidRequest
from retrieval.explanation import CandidateTrace, Explanation, QueryTerm, StageScore
from retrieval.records import Chunking
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

QUERIES = (Query("q 1", "first\u2028question\n"), Query("q2", "second"))
QRELS = (Qrel("q 1", "a", 2), Qrel("q 1", "b", 0), Qrel("q2", "c d", 1))
RANKINGS: Mapping[str, list[RankedScore]] = {
    "q 1": [RankedScore("b", 0.5), RankedScore("a", 0.5)],
    "q2": [RankedScore("c d", 1.25)],
}
EXPLANATION = Explanation(
    terms=(QueryTerm("first", 1.0, 3, 0.7),),
    stages=("lexical",),
    candidates=(CandidateTrace("b:000000", "b", 1, 0.5, (StageScore("lexical", 1, 4.2),), {"first": 4.2}, "", ""),),
)
Edit = Callable[[dict[str, Any]], Any]


def mode(name: str = "default", rankings: Mapping[str, list[RankedScore]] = RANKINGS, **changes: Any) -> ModeResult:
    scores = evaluate(QRELS, {query_id: [found.doc_id for found in ranking] for query_id, ranking in rankings.items()})
    made = ModeResult(name, RetrievalSettings(), scores, rankings, p50=0.01, p95=0.02, titles={"a": "Ä"})
    return replace(made, **changes)


def evaluation(*modes: ModeResult, **changes: Any) -> Evaluation:
    made = Evaluation(
        dataset="set",
        split="test",
        queries=QUERIES,
        qrels=QRELS,
        corpus_sha256="c",
        documents=4,
        chunks=5,
        collection="set-1",
        embedder=FakeEmbedder().info,
        chunking=Chunking(),
        modes=modes or (mode(),),
        created_at="2026-01-02T03:04:05Z",
    )
    return replace(made, **changes)


def bundle(folder: Path, *modes: ModeResult, **changes: Any) -> Path:
    write_bundle(evaluation(*modes, **changes), folder)
    return folder


def edit(folder: Path, change: Edit) -> Path:
    """Rewrite bundle.json."""
    path = folder / "bundle.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_what_was_measured_comes_back(tmp_path: Path) -> None:
    """Queries, judgements, rankings, values, titles, explanations and where it all comes from."""
    folder = bundle(tmp_path / "b", mode(explanations={"q 1": EXPLANATION}))
    run, same = open_sides(folder, folder)
    assert run == same
    assert run.queries == {"q 1": "first\u2028question\n", "q2": "second"}
    assert run.qrels == {"q 1": {"a": 2, "b": 0}, "q2": {"c d": 1}}
    assert [found.doc_id for found in run.rankings["q 1"]] == ["b", "a"]
    assert run.rankings["q2"] == [RankedScore("c d", 1.25)]
    assert run.per_query == mode().scores.per_query
    assert run.titles == {"a": "Ä"}
    assert run.explanations == {"q 1": EXPLANATION}
    side = run.side
    assert (side.mode, side.dataset, side.created_at) == ("default", "set", "2026-01-02T03:04:05Z")
    assert (side.queries, side.documents, side.chunks, side.p50, side.p95) == (2, 4, 5, 0.01, 0.02)
    assert side.settings["retrieval.dense_weight"] == RetrievalSettings().dense_weight
    assert side.settings["chunking.chunk_tokens"] == 200
    assert side.settings["embedder.name"] == "fake"
    assert compare(run, same).missing == ()


def test_values_keep_every_bit(tmp_path: Path) -> None:
    """A metric that is rounded could tip a sign."""
    exact = mode().scores.per_query["q 1"]["nDCG@10"]
    assert len(repr(exact)) > 12
    run, _ = open_sides(*[bundle(tmp_path / "b")] * 2)
    assert run.per_query["q 1"]["nDCG@10"] == exact


def test_a_run_in_a_bundle_is_that_mode(tmp_path: Path) -> None:
    """By its file; a folder stands for the default mode, or for the only one."""
    worse = {"q 1": RANKINGS["q 1"], "q2": [RankedScore("a", 1.0)]}
    folder = bundle(tmp_path / "b", mode(), mode("rrf", worse))
    first, second = open_sides(folder, folder / "rrf.run")
    assert (first.side.mode, second.side.mode) == ("default", "rrf")
    assert second.per_query["q2"]["nDCG@10"] == 0.0
    only = bundle(tmp_path / "only", mode("rrf", worse))
    assert open_sides(only, only)[0].side.mode == "rrf"


def test_several_modes_without_a_default_have_to_be_named(tmp_path: Path) -> None:
    """The error lists the runs."""
    folder = bundle(tmp_path / "b", mode("rrf"), mode("dense"))
    with pytest.raises(InvalidRequest, match=r"name one of its runs: .*rrf\.run.*dense\.run"):
        open_sides(folder, folder)
    (folder / "other.run").write_text("q2 Q0 d 1 1 t\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="is not of this bundle; it has rrf, dense"):
        open_sides(folder / "other.run", folder / "rrf.run")


@pytest.mark.parametrize("name", ["default.run", "qrels.txt", "queries.jsonl", "titles.json"])
def test_an_edited_file_is_refused(tmp_path: Path, name: str) -> None:
    """One byte is enough; so is a file that is gone."""
    folder = bundle(tmp_path / "b")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole.replace(b"1", b"2", 1) if b"1" in whole else whole + b" ")
    with pytest.raises(InvalidRequest, match="SHA-256 differs"):
        open_sides(folder, folder)
    (folder / name).unlink()
    with pytest.raises(InvalidRequest, match="cannot be read"):
        open_sides(folder, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(format=1), "has format 1, this Footnote reads 2; measure again"),
        (lambda values: values.pop("format"), "has format None"),
        (lambda values: values.pop("dataset"), "dataset: Field required"),
        (lambda values: values["modes"]["default"].update(per_query=[]), r"modes\.default\.per_query"),
        (lambda values: values["modes"]["default"]["per_query"]["q2"].update(MRR="high"), r"per_query\.q2\.MRR"),
        (lambda values: values["files"].update({"../secret": "0"}), "which is not in its folder"),
        (lambda values: values["files"].pop("qrels.txt"), "does not list 'qrels.txt'"),
        (lambda values: values["files"].pop("default.run"), "name one of its runs: there is none"),
    ],
)
def test_a_bundle_of_another_shape_is_refused(tmp_path: Path, change: Edit, message: str) -> None:
    """With the file, the field and what to do."""
    folder = edit(bundle(tmp_path / "b"), change)
    with pytest.raises(InvalidRequest, match=message):
        open_sides(folder, folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("titles.json", "[]"),
        ("titles.json", '{"a": 1}'),
        ("queries.jsonl", '{"query_id": "q"}'),
        ("queries.jsonl", "{"),
    ],
)
def test_files_of_another_shape_are_refused(tmp_path: Path, name: str, text: str) -> None:
    """Even when their hash is that of the list: a bundle of another hand."""
    folder = bundle(tmp_path / "b")
    (folder / name).write_text(text, encoding="utf-8")
    edit(folder, lambda values: values["files"].update({name: hashlib.sha256(text.encode()).hexdigest()}))
    with pytest.raises(InvalidRequest, match=rf"{name}.*measure again"):
        open_sides(folder, folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\ud800"])
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Not JSON, not an object, not even text."""
    folder = bundle(tmp_path / "b")
    (folder / "bundle.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InvalidRequest, match=r"bundle\.json"):
        open_sides(folder, folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda values: values["modes"]["default"]["per_query"].pop("q2"), "has no value for 1 query: 'q2'"),
        (lambda values: values["modes"]["default"]["per_query"]["q2"].update({"nDCG@10": None}), "has no value for 1"),
        (
            lambda values: values["modes"]["default"]["per_query"]["q2"].update({"nDCG@10": float("nan")}),
            "has no number",
        ),
    ],
)
def test_a_missing_value_opens_and_fails(tmp_path: Path, change: Edit, reason: str) -> None:
    """It is for the gate to say, so that reports show it."""
    before = bundle(tmp_path / "before")
    after = edit(bundle(tmp_path / "after"), change)
    found = compare(*open_sides(before, after))
    assert found.verdict.outcome == "fail"
    assert reason in found.verdict.reasons[0]


def test_runs_of_other_systems_are_compared(tmp_path: Path) -> None:
    """With judgements of their own, or with those of the bundle on the other side."""
    found = mode(rankings={"q1": [RankedScore("a", 1.0)]})
    folder = bundle(tmp_path / "b", found, queries=(Query("q1", "x"),), qrels=(Qrel("q1", "a", 1),))
    (tmp_path / "other.run").write_text("q1 Q0 a 1 7.5 bm25\nq9 Q0 a 1 7.5 bm25\n", encoding="utf-8")
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\n", encoding="utf-8")
    _, plain = open_sides(folder, tmp_path / "other.run")
    assert plain.per_query["q1"]["nDCG@10"] == 1.0
    assert plain.notes == ("Queries of other.run without judgements, which do not count: 1.",)
    both = open_sides(tmp_path / "other.run", tmp_path / "other.run", qrels=tmp_path / "qrels.tsv")
    assert compare(*both).metrics[0].difference == 0.0
    with pytest.raises(InvalidRequest, match="--qrels FILE"):
        open_sides(tmp_path / "other.run", tmp_path / "other.run")
    with pytest.raises(InvalidRequest, match="judgements of their own"):
        open_sides(folder, folder, qrels=tmp_path / "qrels.tsv")


def test_a_query_that_a_plain_run_lacks_fails(tmp_path: Path) -> None:
    """It may have been lost: nobody has measured a 0."""
    (tmp_path / "qrels").write_text("q1 0 a 1\nq2 0 a 1\nq3 0 a 0\n", encoding="utf-8")
    (tmp_path / "whole.run").write_text("q1 Q0 a 1 2 t\nq2 Q0 a 1 2 t\n", encoding="utf-8")
    (tmp_path / "part.run").write_text("q1 Q0 a 1 2 t\n", encoding="utf-8")
    sides = open_sides(tmp_path / "whole.run", tmp_path / "part.run", qrels=tmp_path / "qrels")
    assert "has no value for 1 query: 'q2'" in compare(*sides).verdict.reasons[0]


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """A path that is wrong, a folder that is no bundle, judgements of nothing."""
    with pytest.raises(InvalidRequest, match="is not there"):
        open_sides(tmp_path / "missing", tmp_path / "missing")
    with pytest.raises(InvalidRequest, match="is no bundle"):
        open_sides(tmp_path, tmp_path)
    (tmp_path / "a.run").write_text("q1 Q0 a 1 2 t\n", encoding="utf-8")
    (tmp_path / "qrels").write_text("q1 0 a 0\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="no document relevant"):
        open_sides(tmp_path / "a.run", tmp_path / "a.run", qrels=tmp_path / "qrels")


def test_a_bundle_is_written_anew(tmp_path: Path) -> None:
    """Modes of the former one are gone; files that are not a bundle's stay."""
    folder = bundle(tmp_path / "b", mode(), mode("rrf"))
    (folder / "README.md").write_text("kept", encoding="utf-8")
    bundle(folder, mode("dense", explanations={"q2": EXPLANATION}))
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "bundle.json", "dense.explanations.jsonl", "dense.run", "qrels.txt", "queries.jsonl"),
        "titles.json",
    }


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    """It is not a place for a bundle; neither is a file."""
    (tmp_path / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"something else than a bundle: 'letter\.txt'"):
        bundle(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(InvalidRequest, match="cannot be written to"):
        bundle(tmp_path / "letter.txt")


def test_what_a_cut_write_left_is_written_over(tmp_path: Path) -> None:
    """Without bundle.json it is no bundle, but it is nothing else either."""
    folder = bundle(tmp_path / "b")
    (folder / "bundle.json").unlink()
    with pytest.raises(InvalidRequest, match="is no bundle"):
        open_sides(folder, folder)
    assert open_sides(bundle(folder), folder)


def test_settings_are_kept_without_places_and_secrets() -> None:
    """A bundle is for others to read."""
    settings = RetrievalSettings.model_validate(
        {"path": "/home/me", "embedder_api_key": "hunter2", "embedder_url": "http://u:p@h", "postgres_url": "x"}
    )
    kept = ranking_settings(settings)
    assert not {"path", "embedder_api_key", "embedder_url", "postgres_url"} & kept.keys()
    assert kept["fusion"] == settings.fusion
    assert "hunter2" not in str(kept)


def test_bundles_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    """The second gets a number."""
    first = results_folder(tmp_path, evaluation())
    assert first == tmp_path / "results" / "set-1-20260102T030405Z"
    bundle(first)
    assert results_folder(tmp_path, evaluation()).name == "set-1-20260102T030405Z-2"

"""Evaluation runs, from a BEIR folder to table and bundle, with a fake embedder."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from evals import indexing, runner
from evals.reports.run import notes, table
from evals.runner import MODES, Options, Result, run
from ingest.settings import IngestSettings
from retrieval.errors import InvalidRequest
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

HANDBOOK = Path(runner.__file__).parent / "sets" / "handbook"


@pytest.fixture(autouse=True)
def fake_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model: hashed words."""
    monkeypatch.setattr(indexing, "build_embedder", lambda settings: FakeEmbedder())


def evaluate(work: Path, folder: Path = HANDBOOK, *, modes: tuple[str, ...] = ("default",)) -> Result:
    options = Options(modes=modes, limit=12)
    return run(folder, options, retrieval=RetrievalSettings(), ingest=IngestSettings(), work_path=work)


def test_all_modes_are_measured_on_one_index(tmp_path: Path) -> None:
    """Each mode gives scores for every query, and they are not all the same."""
    result = evaluate(tmp_path, modes=tuple(MODES))
    assert [mode.mode for mode in result.evaluation.modes] == list(MODES)
    assert result.evaluation.documents == 46
    assert all(len(mode.scores.per_query) == 12 for mode in result.evaluation.modes)
    by_mode = {mode.mode: mode.scores.mean["nDCG@10"] for mode in result.evaluation.modes}
    assert by_mode["lexical"] > 0.4
    assert by_mode["lexical"] != by_mode["dense"]


def test_an_unchanged_corpus_is_not_indexed_again(tmp_path: Path) -> None:
    """The second run reuses the collection, says so, and has the same scores."""
    first, second = evaluate(tmp_path), evaluate(tmp_path)
    assert (first.reused, second.reused) == (False, True)
    assert first.evaluation.modes[0].scores == second.evaluation.modes[0].scores
    assert any("reused" in line for line in notes(second))


def test_a_changed_corpus_is_indexed_anew(tmp_path: Path) -> None:
    """One more document makes another collection."""
    folder = tmp_path / "handbook"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (folder / name).write_bytes((HANDBOOK / name).read_bytes())
    first = evaluate(tmp_path / "work", folder)
    with (folder / "corpus.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"_id": "new", "title": "", "text": "Something else."}\n')
    second = evaluate(tmp_path / "work", folder)
    assert second.evaluation.collection != first.evaluation.collection
    assert (second.reused, second.evaluation.documents) == (False, 47)


def test_an_index_cut_short_is_made_again(tmp_path: Path) -> None:
    """A collection that lacks documents is not taken for the corpus."""
    from retrieval.build import build_collections

    first = evaluate(tmp_path)
    settings = RetrievalSettings(path=tmp_path / "collections")
    store = build_collections(settings).open(first.evaluation.collection, writable=True)
    assert store.delete(["canteen"]) == ["canteen"]
    store.close()
    again = evaluate(tmp_path)
    assert (again.reused, again.evaluation.documents) == (False, 46)


def test_the_bundle_has_what_a_comparison_needs(tmp_path: Path) -> None:
    """Configuration, fingerprints, versions, timings and per-query metrics; and a TREC run."""
    result = evaluate(tmp_path, modes=("lexical",))
    bundle = json.loads((result.bundle / "bundle.json").read_text(encoding="utf-8"))
    assert bundle["dataset"]["corpus_sha256"] == result.evaluation.corpus_sha256
    assert bundle["embedder"]["name"] == "fake"
    assert bundle["modes"]["lexical"]["retrieval"]["mode"] == "lexical"
    assert len(bundle["modes"]["lexical"]["per_query"]) == 12
    assert bundle["modes"]["lexical"]["seconds"]["p95"] > 0
    assert "onnxruntime" in bundle["versions"]
    lines = (result.bundle / "lexical.run").read_text(encoding="utf-8").splitlines()
    query_id, _, doc_id, rank, score, tag = lines[0].split()
    assert (query_id, rank, tag) == ("q01", "1", "footnote-lexical")
    assert doc_id == result.evaluation.modes[0].rankings["q01"][0].doc_id
    assert float(score) > float(lines[1].split()[4])


def test_the_table_shows_points(tmp_path: Path) -> None:
    """A row per mode, metrics from 0 to 100."""
    result = evaluate(tmp_path, modes=("default", "lexical"))
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w", encoding="utf-8"))
    console.print(table(result))
    text = console.export_text()
    assert "handbook, test: 12 queries" in text
    assert f"{100 * result.evaluation.modes[1].scores.mean['nDCG@10']:.1f}" in text


@pytest.mark.parametrize("modes", [("default", "psychic"), ()])
def test_unknown_modes_are_refused(tmp_path: Path, modes: tuple[str, ...]) -> None:
    """The error lists the known ones, before anything is indexed."""
    with pytest.raises(InvalidRequest, match="choose from default, dense"):
        evaluate(tmp_path, modes=modes)
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_set_is_sound() -> None:
    """The handbook has no odd judgements, and as many documents and questions as its README says."""
    from evals.datasets import read_dataset

    dataset = read_dataset(HANDBOOK)
    assert dataset.problems == ()
    assert (dataset.corpus.documents, len(dataset.queries)) == (46, 36)
    assert "46 documents, 36 questions" in (HANDBOOK / "README.md").read_text(encoding="utf-8")

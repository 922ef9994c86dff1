"""`footnote eval tune`: what it prints, and what it refuses before any work is done."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from evals import indexing
from footnote.cli import app
from tests.fakes import FakeEmbedder
from tests.unit.evals.test_tuning import make_set


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a set of questions, and no model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(indexing, "build_embedder", lambda settings: FakeEmbedder())
    make_set(tmp_path / "set", queries=40)


def tune(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["eval", "tune", "--dataset", "set", *arguments])


def test_json_has_every_trial_and_the_verdict() -> None:
    """Data on stdout, and nothing else; `--set` changes what is compared with."""
    done = tune("--vary", "mode=lexical,dense", "--set", "mode=dense", "--set", "late_weight=0", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [trial["changes"] for trial in found["trials"]] == [{"mode": "lexical"}, {}]
    assert found["configured"] == {"mode": "dense"}
    assert found["outcomes"][0]["judged_on"] + found["outcomes"][0]["tuned_on"] == 40
    assert found["worth"]["gain"] > 0
    assert found["adopt"] == found["reason"].startswith("Adopt")


def test_keeping_what_is_there_is_no_error() -> None:
    """The usual outcome: exit code 0, the verdict on stdout, progress on stderr."""
    done = tune("--vary", "dense_weight=0.5,0.51")
    assert done.exit_code == 0, done.output
    assert "Keep the configured settings" in done.stdout
    assert "rankings" in done.stderr
    assert "[retrieval]" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tune-split", "dev"], "go together"),
        (["--vary", "store=memory"], "cannot be tuned"),
        (["--metric", "accuracy"], "is not measured"),
        (["--dataset", "set"], "each of them once"),
        (["--split", "train"], "is missing"),
        (["--max-loss", "nan"], "max-loss"),
        (["--min-gain", "inf"], "the least gain is inf%"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], said: str, tmp_path: Path) -> None:
    """Before anything is indexed."""
    done = tune(*arguments)
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)
    assert not (tmp_path / "footnote-evals").exists()

"""The project's own gate: the ranking as it is now against the committed baseline of `evals/sets/skerry`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Footnote

SKERRY = ROOT / "evals" / "sets" / "skerry"
MODES = ("default", "dense", "lexical")
GATED = ("--metric", "nDCG@10", "--metric", "recall@10")
"""Of 98 documents nearly all are among the first 100, so recall@100 would only cost power."""


@pytest.fixture(scope="module")
def measured(make_footnote: Callable[[], Footnote]) -> Footnote:
    """The bundle `now`, measured with the defaults."""
    made = make_footnote()
    modes = [argument for mode in MODES for argument in ("--mode", mode)]
    made("eval", "run", "--dataset", SKERRY, *modes, "--out", "now", "--explain")
    return made


@pytest.mark.parametrize("mode", MODES)
def test_the_ranking_is_no_worse_than_the_baseline(measured: Footnote, mode: str) -> None:
    """Each half of the ranking alone, too: together they hide each other's losses."""
    found = measured.json("eval", "compare", SKERRY / "baseline" / f"{mode}.run", f"now/{mode}.run", *GATED)
    assert found["verdict"]["outcome"] in {"pass", "warn"}
    assert found["missing"] == []
    assert found["metrics"][0]["queries"] == 74


def test_a_worse_ranking_is_stopped(measured: Footnote, tmp_path: Path) -> None:
    """Without its dense half the ranking fails by exit code, and every report says so."""
    reports = {name: tmp_path / f"report.{name}" for name in ("html", "junit", "markdown")}
    arguments = [argument for name, path in reports.items() for argument in (f"--{name}", path)]
    done = measured("eval", "compare", SKERRY / "baseline", "now/lexical.run", *GATED, *arguments, code=6)
    assert "FAIL" in done.stdout
    assert "nDCG@10 lost" in done.stdout
    assert all("nDCG" in path.read_text(encoding="utf-8") for path in reports.values())
    assert "lexical" in reports["html"].read_text(encoding="utf-8")


def test_the_baseline_compares_with_itself(footnote: Footnote) -> None:
    """No file of it was edited, and nothing differs."""
    found = footnote.json("eval", "compare", SKERRY / "baseline", SKERRY / "baseline")
    assert found["verdict"] == {"outcome": "pass", "reasons": []}
    assert (found["moved"], found["changes"]) == ([], [])
    assert found["metrics"][0]["difference"] == 0.0


def test_an_error_is_no_verdict(footnote: Footnote) -> None:
    """What cannot be read ends with 1, not with the code of a regression."""
    done = footnote("eval", "compare", "nowhere", SKERRY / "baseline", code=1)
    assert "'nowhere' is not there" in done.stderr
    done = footnote("eval", "compare", SKERRY / "baseline", SKERRY / "baseline", "--html", "/proc/x/y.html", code=1)
    assert "--html '/proc/x/y.html' cannot be written" in done.stderr

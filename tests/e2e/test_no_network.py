"""Promise 6: no command makes a network call that the configuration does not name."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from docs.write_cli import commands
from tests.e2e.conftest import ROOT, Footnote

RUNS: dict[str, list[list[str]]] = {
    "footnote ingest": [["ingest", "papers"], ["ingest", "papers", "--prune", "--dry-run"]],
    "footnote retry": [["retry"]],
    "footnote status": [["status"], ["status", "--failed"], ["status", "--source", "papers/a.md"]],
    "footnote doctor": [["doctor"], ["doctor", "--repair", "--json"]],
    "footnote search": [["search", "pump"], ["search", "pump", "--explain"]],
    "footnote explain": [["explain", "--query", "pump", "--doc", "papers/a.md"]],
    "footnote ask": [["ask", "At what pressure does the pump start?"]],
    "footnote verify": [["verify", "answer.json"]],
    "footnote delete": [["delete", "papers/b.txt"]],
    "footnote receipts list": [["receipts", "list"]],
    "footnote receipts show": [["receipts", "show"]],
    "footnote receipts verify": [["receipts", "verify"]],
    "footnote editions drop": [
        ["reindex", "--chunk-tokens", "40", "--no-switch"],
        ["editions", "drop", "2", "--yes"],
    ],
    "footnote reindex": [["reindex", "--chunk-tokens", "50", "--suite", "suite"]],
    "footnote editions list": [["editions", "list"]],
    "footnote editions rollback": [["reindex", "--chunk-tokens", "60"], ["editions", "rollback"]],
    "footnote editions switch": [["editions", "switch", "1"]],
    "footnote serve": [["serve", "--json"]],
    "footnote eval run": [["eval", "run", "--dataset", str(ROOT / "evals" / "sets" / "handbook")]],
    "footnote eval compare": [
        ["eval", "run", "--dataset", str(ROOT / "evals" / "sets" / "handbook"), "-m", "default", "--out", "before"],
        ["eval", "compare", "before", "before", "--html", "report.html", "--junit", "a.xml", "--markdown", "a.md"],
    ],
    "footnote eval tune": [
        ["eval", "tune", "--dataset", str(ROOT / "evals" / "sets" / "handbook"), "--vary", "mode", "--vary", "fusion"]
    ],
    "footnote eval answers": [["eval", "answers", "--dataset", "squad.json"]],
    "footnote eval suite": [["eval", "suite", "--suite", "suite"]],
    "footnote models list": [["models", "list"]],
    "footnote models prepare": [["models", "prepare", "tiny"]],
    "footnote store copy": [["store", "copy", "--from", "faiss", "--to", "faiss", "--to-path", "second", "--all"]],
    "footnote store check": [["store", "check"]],
    "footnote config show": [["config", "show"]],
}
SQUAD = {
    "version": "v2.0",
    "data": [{"title": "Pumps", "paragraphs": [{"context": "The pump starts at 40 bar. It is red.", "qas": [
        {"id": "1", "question": "When does the pump start?", "is_impossible": False,
         "answers": [{"text": "40 bar", "answer_start": 19}]},
        {"id": "2", "question": "Who built the cathedral?", "is_impossible": True, "answers": []},
    ]}]}],
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(make_footnote: Callable[[], Footnote]) -> Footnote:
    """Papers ingested and an answer saved, so that every command has something to do."""
    made = make_footnote()
    papers = made.folder / "papers"
    papers.mkdir()
    (papers / "a.md").write_text("# Pumps\n\nThe pump starts at 40 bar.")
    (papers / "b.txt").write_text("The valve opens at noon.")
    (papers / "c.eml").write_text("From: a@b.example\nTo: c@d.example\nSubject: Pump\n\nThe pump is red.\n")
    (papers / "d.html").write_text("<html><body><img src='https://example.org/x.png'><p>Pump oil.</p></body></html>")
    (made.folder / "squad.json").write_text(json.dumps(SQUAD))
    suite = made.folder / "suite"
    (suite / "qrels").mkdir(parents=True)
    (suite / "queries.jsonl").write_text('{"_id": "1", "text": "At what pressure does the pump start?"}')
    (suite / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta.md\t1\n")
    made("ingest", "papers")
    (made.folder / "answer.json").write_text(made("ask", "At what pressure does the pump start?", "--json").stdout)
    made.module = "tests.e2e.no_network"
    made.env["PYTHONPATH"] = str(ROOT)
    return made


def test_every_command_is_run() -> None:
    """A new command must be added here."""
    assert set(RUNS) == {name for name, _ in commands()}


@pytest.mark.parametrize("name", RUNS)
def test_command_stays_off_the_network(prepared: Footnote, name: str) -> None:
    """Whatever its exit code, it is not that of the network guard."""
    for arguments in RUNS[name]:
        done = subprocess.run(
            [sys.executable, "-m", prepared.module, *arguments],
            cwd=prepared.folder, env=prepared.env, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert "NETWORK" not in done.stderr
        expected = 1 if name == "footnote models prepare" else 0  # there is no such folder: nothing is downloaded
        assert done.returncode == expected, done.stderr


def test_the_guard_guards(tmp_path: Path) -> None:
    """A connection attempt under the guard ends with its code."""
    script = """
import socket, sys
from tests.e2e.no_network import forbid
sys.addaudithook(forbid)
socket.create_connection(("127.0.0.1", 9))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 99
    assert "NETWORK" in done.stderr


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare of util-linux")
def test_ask_works_where_there_is_no_network_at_all(prepared: Footnote) -> None:
    """In a network namespace without even a loopback, native code has no way out either."""
    probe = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine does not let us make a network namespace")
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-m", "footnote", "ask", "At what pressure does the pump start?"],
        cwd=prepared.folder, env=prepared.env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "40 bar" in done.stdout

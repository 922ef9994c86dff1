"""`footnote ingest` and `footnote retry` as people run them: real workers, real signals, real terminals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import Footnote


@pytest.fixture
def papers(footnote: Footnote) -> Path:
    """Three files, of which one is damaged."""
    folder = footnote.folder / "papers"
    folder.mkdir()
    (folder / "a.md").write_text("# Pumps\n\nThe pump starts at 40 bar.")
    (folder / "b.txt").write_text("The valve opens at noon.")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    return folder


def started(footnote: Footnote, *arguments: str) -> "subprocess.Popen[str]":
    """The command, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "footnote", *arguments], cwd=footnote.folder, env=footnote.env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def many(footnote: Footnote, count: int) -> None:
    """Documents enough for a run that can be stopped in its midst."""
    folder = footnote.folder / "many"
    folder.mkdir()
    for n in range(count):
        (folder / f"{n:03d}.txt").write_text("\n\n".join(f"Pump {n} of hall {m} starts at noon." for m in range(60)))


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    """Until it holds; the process must not have ended before."""
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def documents(footnote: Footnote) -> int:
    """How many there are now; 0 where there is no collection yet."""
    return sum(one["documents"] for one in footnote.json("status")["collections"])


def test_events_are_lines_of_json(footnote: Footnote, papers: Path) -> None:
    """What was found, what is planned, what became of each file, and the report at the end."""
    lines = [json.loads(line) for line in footnote("ingest", "papers", "--json", code=3).stdout.splitlines()]
    by_event: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_event.setdefault(line["event"], []).append(line)
    assert by_event["planned"][0]["new"] == 3
    assert by_event["discovered"][0]["files"] == 3
    found = {line["name"]: (line["outcome"], line["reason"], line["chunks"]) for line in by_event["document"]}
    assert found == {"a.md": ("ingested", "", 1), "b.txt": ("ingested", "", 1), "bad.pdf": ("failed", "corrupt", 0)}
    assert "parse" in by_event["document"][0]["seconds"] or "parse" in by_event["document"][1]["seconds"]
    assert lines[-1]["event"] == "end"
    assert (lines[-1]["ingested"], len(lines[-1]["failures"])) == (2, 1)


def test_the_last_event_says_that_a_run_was_refused(footnote: Footnote, papers: Path) -> None:
    """Who reads the stream only need not guess why no `end` comes."""
    footnote("ingest", "papers", code=3)
    for path in papers.iterdir():
        path.unlink()
    shown = footnote("ingest", "papers", "--prune", "--json", code=1).stdout
    last = json.loads(shown.splitlines()[-1])
    assert last["event"] == "error"
    assert "--prune-empty deletes them" in last["error"]


def test_known_failures_are_said_and_retried(footnote: Footnote, papers: Path) -> None:
    """Exit code 3 as long as something is not in; `retry` tries it, whether it has changed or not."""
    footnote("ingest", "papers", code=3)
    again = footnote("ingest", "papers", code=3)
    assert "1 known failure not tried again: footnote retry" in again.stderr
    assert "3 files: 0 ingested, 2 unchanged, 1 not ingested" in again.stdout
    report = footnote.json("retry", code=3)
    assert [one["name"] for one in report["failures"]] == ["bad.pdf"]
    (papers / "bad.pdf").unlink()
    assert "is not there any more" in footnote("retry").stderr
    assert footnote.json("ingest", "papers", "--prune")["gone"] == 0
    nothing = footnote.json("retry")
    assert (nothing["files"], nothing["failures"]) == (0, [])


def test_retry_takes_only_failed_sources(footnote: Footnote, papers: Path) -> None:
    """Others are named in an error; so is metadata that would be lost."""
    footnote("ingest", "papers", "-m", "year=2023", code=3)
    assert "is no failed source" in footnote("retry", (papers / "a.md").as_uri(), code=1).stderr
    assert "give the same --metadata" in footnote("retry", code=1).stderr
    assert footnote.json("retry", "-m", "year=2023", code=3)["known_failures"] == 0


@pytest.mark.parametrize("entry", ["year", "=1", "a=NaN", "a=1e999", "$or=3", 'a=[1, "x"]', f"a={2**63}"])
def test_metadata_that_cannot_be_is_refused_before_anything_is_done(
    footnote: Footnote, papers: Path, entry: str
) -> None:
    """The error names the option, as no document is to blame."""
    assert f"--metadata {entry!r}" in footnote("ingest", str(papers), "-m", entry, code=1).stderr
    assert documents(footnote) == 0


def test_a_dry_run_writes_nothing(footnote: Footnote, papers: Path) -> None:
    """Not even a collection; it lists what would be done."""
    shown = footnote("ingest", "papers", "--dry-run").stdout
    assert f"new        {(papers / 'a.md').as_uri()}" in shown
    assert shown.splitlines()[-1] == "3 new"
    assert documents(footnote) == 0
    assert not (footnote.folder / "data" / "default").exists()
    footnote("ingest", "papers", code=3)
    (papers / "b.txt").rename(papers / "c.txt")
    assert footnote.json("ingest", "papers", "--dry-run")["moved"] == 1


def test_standard_input_is_a_document(footnote: Footnote) -> None:
    """Known by the name that it is given; piped again, it is compared with what it was."""
    text = "# Pumps\n\nThe pump starts at 40 bar."
    assert footnote.json("ingest", "-", "--name", "notes.md", stdin=text)["ingested"] == 1
    assert footnote.json("ingest", "-", "--name", "notes.md", stdin=text)["unchanged"] == 1
    assert footnote.json("search", "pump")["results"][0]["source_uri"] == "stdin:notes.md"
    footnote.json("ingest", "-", "--name", "bad.pdf", stdin="%PDF-1.7 broken", code=3)
    assert "pipe it to `footnote ingest -` again" in footnote("retry").stderr


def test_a_prune_that_takes_most_wants_a_yes(footnote: Footnote) -> None:
    """Without a terminal nobody can be asked: it is refused, with nothing done."""
    folder = footnote.folder / "papers"
    folder.mkdir()
    for n in range(16):
        (folder / f"{n}.txt").write_text(f"Pump {n} starts.")
    footnote("ingest", "papers")
    for n in range(15):
        (folder / f"{n}.txt").unlink()
    assert "15 of 16 documents" in footnote("ingest", "papers", "--prune", code=1).stderr
    assert "a run would refuse this" in footnote("ingest", "papers", "--prune", "--dry-run").stderr
    assert "refuse" not in footnote("ingest", "papers", "--prune", "--dry-run", "--yes").stderr
    assert documents(footnote) == 16
    done = footnote("ingest", "papers", "--prune", "--yes")
    assert "deleting 15 documents whose source is gone" in done.stderr
    assert documents(footnote) == 1
    (folder / "15.txt").unlink()
    assert "is it mounted" in footnote("ingest", "papers", "--prune", "--yes", code=1).stderr
    footnote("ingest", "papers", "--prune-empty")
    assert documents(footnote) == 0


def test_names_that_are_no_text_are_names(footnote: Footnote) -> None:
    """Bytes that are no UTF-8, and line breaks: ingested, listed, found again."""
    folder = os.fsencode(footnote.folder) + b"/odd"
    os.mkdir(folder)  # noqa: PTH102 - a Path cannot be made of every name
    for name in (b"in\xff.txt", b"line\nbreak.txt", b"percent%41.txt", b"-c.txt"):
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(b"The pump of " + name.replace(b"\xff", b"y") + b" starts.")
    assert footnote.json("ingest", "odd")["ingested"] == 4
    assert footnote.json("ingest", os.fsdecode(folder + b"/in\xff.txt"))["unchanged"] == 1


def test_ctrl_c_ends_the_workers_and_keeps_what_is_done(footnote: Footnote) -> None:
    """Within two seconds, exit code 130, no process left; the same command does the rest."""
    many(footnote, 120)
    process = started(footnote, "ingest", "many", "--json")
    assert process.stdout is not None
    workers: set[psutil.Process] = set()
    while '"document"' not in process.stdout.readline():
        assert process.poll() is None
        workers |= set(psutil.Process(process.pid).children())
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    output, error = process.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert process.returncode == 130
    assert json.loads(output.splitlines()[-1])["event"] == "stopped"
    assert "of 120 files are done with" in error
    assert "Traceback" not in error
    assert workers
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    done = documents(footnote)
    assert 0 < done < 120
    report = footnote.json("ingest", "many")
    assert (report["unchanged"], report["ingested"], documents(footnote)) == (done, 120 - done, 120)


def test_a_second_ctrl_c_ends_at_once(footnote: Footnote) -> None:
    """Whatever the first one is still waiting for."""
    many(footnote, 60)
    process = started(footnote, "ingest", "many", "--json")
    assert process.stdout is not None
    while '"discovered"' not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130


def test_kill_9_loses_and_doubles_nothing(footnote: Footnote) -> None:
    """Again and again, in the midst of everything: at the end each document is there once, no worker is left."""
    many(footnote, 90)
    embedded = 0
    for seconds in (0.2, 0.6, 1.0):
        process = started(footnote, "ingest", "many", "--json")
        assert process.stdout is not None
        while '"discovered"' not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(seconds)
        workers = psutil.Process(process.pid).children()
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 10
        while any(worker.is_running() for worker in workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        embedded = documents(footnote)
    report = footnote.json("ingest", "many")
    assert (report["unchanged"], report["ingested"]) == (embedded, 90 - embedded)
    assert documents(footnote) == 90
    assert footnote.json("ingest", "many")["chunks"] == 0


def test_a_worker_that_is_killed_costs_nothing(footnote: Footnote) -> None:
    """Its file is read again by another one."""
    many(footnote, 60)
    process = started(footnote, "ingest", "many", "--json", "--workers", "2")
    for worker in wait_for(psutil.Process(process.pid).children, process):
        worker.kill()
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert json.loads(out.splitlines()[-1])["ingested"] == 60


def test_progress_is_plain_where_there_is_no_terminal(footnote: Footnote, papers: Path) -> None:
    """No control characters, no empty bars; the summary on stdout, failures on stderr."""
    done = footnote("ingest", "papers", code=3)
    assert "\x1b" not in done.stderr + done.stdout
    assert done.stdout.splitlines() == [done.stdout.strip()]
    assert "failed: 'bad.pdf'" in done.stderr


def test_a_typing_error_leaves_no_collection(footnote: Footnote) -> None:
    """Neither of the source's name, nor of the collection's that was given with it."""
    found = footnote("ingest", "nosuch.md", "-c", "typo", code=1)
    assert "no such file or folder: 'nosuch.md'" in found.stderr
    assert footnote.json("status")["collections"] == []

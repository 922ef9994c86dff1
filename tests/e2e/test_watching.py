"""`footnote ingest --watch` as a user runs it: one process that follows what happens to a folder."""

import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Footnote


class Watching:
    """The process, and the events that it prints."""

    def __init__(self, footnote: Footnote, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "footnote", "ingest", *map(str, arguments), "--watch", "--json"],
            cwd=footnote.folder, env=footnote.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._ends: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next_sync(self) -> dict[str, Any]:
        """The report of the next sync."""
        return self._ends.get(timeout=60)

    def interrupt(self) -> tuple[int, str]:
        """Exit code and what was said."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(30)
        assert self._process.stderr
        return code, self._process.stderr.read()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "end":
                self._ends.put(event)


@pytest.fixture
def start(footnote: Footnote) -> Iterator[Callable[..., Watching]]:
    started: list[Watching] = []

    def make(*arguments: str | Path) -> Watching:
        footnote.env["FOOTNOTE_INGEST__WORKERS"] = "0"
        started.append(Watching(footnote, *arguments))
        return started[-1]

    yield make
    for one in started:
        one.kill()


def test_a_folder_is_followed_until_ctrl_c(footnote: Footnote, start: Callable[..., Watching]) -> None:
    """New, changed, deleted on purpose, gone, and the folder itself away and back; the data lie within it."""
    docs = footnote.folder
    (docs / "a.txt").write_text("The pump starts at 40 bar.")
    (docs / "b.txt").write_text("The valve opens at noon.")
    watching = start(docs, "--prune")
    assert watching.next_sync()["ingested"] == 2
    (docs / "c.txt").write_text("The quokka keeps the harbour log.")
    assert watching.next_sync()["ingested"] == 1
    assert footnote.json("search", "quokka")["results"]
    footnote("delete", "b.txt")
    (docs / "c.txt").write_text("The wombat keeps the harbour log.")
    report = watching.next_sync()
    assert (report["ingested"], report["deleted"]) == (1, 1)
    (docs / "a.txt").unlink()
    assert watching.next_sync()["pruned"] == 1
    code, said = watching.interrupt()
    assert code == 0
    assert "stopped watching after 4 syncs" in said
    assert footnote.json("status")["collections"][0]["documents"] == 1


def test_a_folder_that_is_taken_away_is_waited_for(footnote: Footnote, start: Callable[..., Watching]) -> None:
    """Its documents stay: a drive that is not mounted is no wish to delete."""
    docs = footnote.folder / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("The pump starts at 40 bar.")
    watching = start(docs, "--prune")
    assert watching.next_sync()["ingested"] == 1
    shutil.move(docs, footnote.folder / "away")
    shutil.move(footnote.folder / "away", docs)
    assert watching.next_sync()["unchanged"] == 1
    (docs / "b.txt").write_text("The valve opens at noon.")
    assert watching.next_sync()["ingested"] == 1
    assert watching.interrupt()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("docs", "--watch", "--dry-run"), "leave one of them out"),
        (("-", "--watch"), "can be read only once"),
        (("nowhere", "--watch"), "no such file or folder: 'nowhere'"),
    ],
)
def test_what_cannot_be_watched_is_named(footnote: Footnote, arguments: tuple[str, ...], message: str) -> None:
    """And nothing is waited for."""
    assert message in footnote("ingest", *arguments, code=1).stderr

"""Watching: what has changed is synced soon, everything every so often, and nothing that befalls a folder ends it."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from ingest.watching import watch
from retrieval.errors import InvalidRequest, SourceNotFound, StoreUnavailable

QUIET = 0.1


class Watched:
    """`watch` in a thread, and what it has called."""

    def __init__(self, arguments: Sequence[str | Path], *, poll_seconds: float = 1000.0, **options: Any) -> None:
        self.syncs: list[list[str]] = []
        self.problems: list[str] = []
        self.fails: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=watch, args=([str(argument) for argument in arguments],), daemon=True,
            kwargs={
                "sync": self._sync, "poll_seconds": poll_seconds, "stop": self._stop, "quiet": QUIET,
                "on_problem": self.problems.append, **options,
            },
        )  # fmt: skip
        self._thread.start()
        self.wait_for(lambda: bool(self.syncs))

    def _sync(self, arguments: Sequence[str]) -> None:
        self.syncs.append([Path(argument).name for argument in arguments])
        if self.fails:
            raise self.fails

    def wait_for(self, what: Callable[[], bool], seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, f"waited in vain; {self.syncs} {self.problems}"
            time.sleep(0.01)

    def settle(self) -> list[list[str]]:
        """Syncs since the first, when nothing has come for a while."""
        before = -1
        while before != len(self.syncs):
            before = len(self.syncs)
            time.sleep(6 * QUIET)
        return self.syncs[1:]

    def end(self) -> None:
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def begin() -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def make(*arguments: str | Path, **options: Any) -> Watched:
        started.append(Watched(arguments, **options))
        return started[-1]

    yield make
    for one in started:
        one.end()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
    return tmp_path / "a", tmp_path / "b"


def test_it_begins_with_a_sync_of_everything(begin: Callable[..., Watched], folders: tuple[Path, Path]) -> None:
    """And then does nothing while nothing happens."""
    watched = begin(*folders)
    assert watched.settle() == []
    assert watched.syncs == [["a", "b"]]


@pytest.mark.parametrize("change", ["write", "append", "move", "delete"])
def test_a_change_syncs_its_folder(begin: Callable[..., Watched], folders: tuple[Path, Path], change: str) -> None:
    """However deep, whatever it is; the other folder is left alone."""
    file = folders[0] / "deep" / "note.txt"
    if change != "write":
        file.write_text("x")
    watched = begin(*folders)
    match change:
        case "write" | "append":
            file.open("a").write("more")
        case "move":
            file.rename(file.with_name("other.txt"))
        case "delete":
            file.unlink()
    watched.wait_for(lambda: len(watched.syncs) > 1)
    assert watched.settle() == [["a"]]


def test_a_burst_is_one_sync(begin: Callable[..., Watched], folders: tuple[Path, Path]) -> None:
    """It waits until it is quiet."""
    watched = begin(*folders)
    for i in range(40):
        (folders[0] / f"{i}.txt").write_text("x")
        time.sleep(QUIET / 10)
    watched.wait_for(lambda: len(watched.syncs) > 1)
    assert len(watched.settle()) <= 2


def test_what_holds_no_document_wakes_nobody(begin: Callable[..., Watched], folders: tuple[Path, Path]) -> None:
    """Hidden files, an office program's locks, and the collection's own folder within the watched one."""
    own = folders[0] / "data"
    own.mkdir()
    watched = begin(folders[0], exclude=[own])
    (own / "catalog.db").write_text("x")
    (folders[0] / ".note.txt.swp").write_text("x")
    (folders[0] / "~$report.docx").write_text("x")
    (folders[0] / ".git").mkdir()
    (folders[0] / ".git" / "index").write_text("x")
    assert watched.settle() == []


def test_changes_during_a_sync_are_not_lost(folders: tuple[Path, Path]) -> None:
    """The folder is watched before its first sync begins."""
    calls: list[Sequence[str]] = []
    stop = threading.Event()

    def sync(arguments: Sequence[str]) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            (folders[0] / "meanwhile.txt").write_text("x")
        else:
            stop.set()

    thread = threading.Thread(
        target=watch, args=([str(folders[0])],), daemon=True,
        kwargs={"sync": sync, "poll_seconds": 1000.0, "stop": stop, "quiet": QUIET},
    )  # fmt: skip
    thread.start()
    thread.join(10)
    assert len(calls) == 2


def test_a_folder_may_go_and_come_back(begin: Callable[..., Watched], folders: tuple[Path, Path]) -> None:
    """It is waited for, said so once, and watched as before when it is back."""
    watched = begin(*folders)
    shutil.rmtree(folders[0])
    watched.wait_for(lambda: bool(watched.problems))
    (folders[1] / "x.txt").write_text("x")
    watched.wait_for(lambda: ["b"] in watched.syncs)
    folders[0].mkdir()
    watched.wait_for(lambda: ["a"] in watched.syncs)
    seen = len(watched.settle())
    (folders[0] / "again.txt").write_text("x")
    watched.wait_for(lambda: len(watched.syncs) > seen + 1)
    assert watched.syncs[-1] == ["a"]
    assert len(watched.problems) == 1
    assert "not there any more" in watched.problems[0]


def test_a_file_may_be_replaced(begin: Callable[..., Watched], folders: tuple[Path, Path]) -> None:
    """As editors do: another file takes its name."""
    file = folders[0] / "note.txt"
    file.write_text("one")
    watched = begin(file)
    for text in ("two", "three"):
        before = len(watched.syncs)
        (folders[1] / "tmp").write_text(text)
        (folders[1] / "tmp").rename(file)
        watched.wait_for(lambda before=before: len(watched.syncs) > before)  # type: ignore[misc]


def test_a_sync_that_fails_is_tried_again(
    begin: Callable[..., Watched], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later, with what was due; the error is told, and nothing ends."""
    monkeypatch.setattr("ingest.watching._AGAIN_SECONDS", 3 * QUIET)
    watched = begin(*folders)
    watched.fails = StoreUnavailable("the database is away")
    (folders[0] / "x.txt").write_text("x")
    watched.wait_for(lambda: bool(watched.problems))
    assert "the database is away; trying again" in watched.problems[0]
    watched.fails = None
    done = len(watched.syncs)
    watched.wait_for(lambda: len(watched.syncs) > done)
    assert watched.settle()[-1] == ["a"]


def test_what_the_first_sync_raises_is_raised(folders: tuple[Path, Path]) -> None:
    """A misspelt name is no folder to wait for."""

    def sync(arguments: Sequence[str]) -> None:
        raise SourceNotFound("no such file")

    with pytest.raises(SourceNotFound):
        watch([str(folders[0] / "typo")], sync=sync, poll_seconds=1000.0, quiet=QUIET)


def test_standard_input_cannot_be_watched() -> None:
    """It can be read once."""
    with pytest.raises(InvalidRequest, match="only once"):
        watch(["-"], sync=lambda _: None, poll_seconds=1.0)


def test_what_tells_nothing_is_polled(begin: Callable[..., Watched], folders: tuple[Path, Path]) -> None:
    """Buckets and pages, with everything else."""
    watched = begin(folders[0], "s3://bucket/docs", poll_seconds=4 * QUIET)
    watched.wait_for(lambda: len(watched.syncs) >= 3)
    assert watched.syncs[:3] == [["a", "docs"]] * 3


def test_folders_that_cannot_be_watched_are_polled(
    begin: Callable[..., Watched], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system has no more to give, it is said, and the rest goes on."""

    def full(*_: Any, **__: Any) -> Iterator[set[Any]]:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", full)
    watched = begin(folders[0], poll_seconds=4 * QUIET)
    watched.wait_for(lambda: len(watched.syncs) >= 2)
    assert "OS file watch limit reached" in watched.problems[0]


def test_names_of_any_bytes_can_be_watched(begin: Callable[..., Watched], tmp_path: Path) -> None:
    """If only by polling."""
    folder = tmp_path / os.fsdecode(b"in\xff")
    folder.mkdir()
    watched = begin(folder, poll_seconds=4 * QUIET)
    (folder / os.fsdecode(b"x\xfe.txt")).write_text("x")
    watched.wait_for(lambda: len(watched.syncs) >= 2)

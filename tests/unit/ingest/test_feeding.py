"""Sources of other machines on their way to tasks: fetched at the same time, cleared away, in nobody's way."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import ledger
from ingest.feeding import Feed
from ingest.planning import Step
from ingest.preparation import failed
from ingest.sources import Fetched, Source
from ingest.tasks import Outcome, Task
from retrieval.errors import FetchError
from retrieval.records import SourceRecord


class Web:
    """A place whose content is fetched; what a name begins with says how that goes."""

    def __init__(self, names: Sequence[str]) -> None:
        self.steps = [Step(Source(f"web:{name}", name, 0), "new") for name in names]
        self.roots = ("web:",)
        self.at_once = 0
        self.most = 0
        self.closed = threading.Event()
        self.known: list[str] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Source]:
        return iter(step.source for step in self.steps)

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.known.append(known)
        try:
            return self._fetched(source, spool, known)
        finally:
            with self._lock:
                self.at_once -= 1

    def close(self) -> None:
        self.closed.set()

    def _fetched(self, source: Source, spool: Path, known: str) -> Fetched:
        if source.name.startswith("slow"):
            time.sleep(0.05)
        if source.name.startswith("hang"):
            self.closed.wait(20)
            raise FetchError("closed")
        if source.name.startswith("lost"):
            raise FetchError(f"{source.name!r}: 404")
        if source.name.startswith("odd"):
            raise ZeroDivisionError("never thought of")
        if known:
            return Fetched(Path(), unchanged=True, validator=known)
        path = spool / source.name
        path.write_text("The pump.")
        return Fetched(path, temporary=True, metadata={"own": 1}, validator="v1", name="given.md")


def test_fetching_goes_on_side_by_side(tmp_path: Path) -> None:
    """Several at a time, in their order, and not more ahead than a few."""
    web = Web([f"slow{n}" for n in range(40)])
    feed = Feed(web.steps, web, tmp_path, given={})
    first = next(feed)
    assert (first.name, first.temporary, first.metadata) == ("given.md", True, {"own": 1})
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) <= 9
    names = [first.uri]
    feed.take(first.uri, [])
    for task in feed:
        names.append(task.uri)
        feed.take(task.uri, [])
    assert names == [f"web:slow{n}" for n in range(40)]
    assert 2 <= web.most <= 8
    assert list(tmp_path.iterdir()) == []
    feed.close()


def test_what_cannot_be_fetched_is_settled(tmp_path: Path) -> None:
    """Each with its reason, also when the place fails in a way that nobody has thought of; the others go on."""
    web = Web(["lost", "odd", "fine"])
    feed = Feed(web.steps, web, tmp_path, given={})
    assert [task.uri for task in finished(feed)] == ["web:fine"]
    lines = {line.source_uri: line for outcome in feed.settled() for line in settled_lines(outcome)}
    assert {uri: line.reason for uri, line in lines.items()} == {"web:lost": "unreadable", "web:odd": "internal"}
    assert "never thought of" in lines["web:odd"].error
    assert list(feed.settled()) == []
    feed.close()


def finished(feed: Feed) -> Iterator[Task]:
    """All tasks, each of them done with at once."""
    for task in feed:
        feed.take(task.uri, [])
        yield task


def settled_lines(outcome: Outcome) -> list[SourceRecord]:
    return [settled.line for settled in outcome.settled]


@pytest.mark.parametrize(
    ("change", "known"),
    [({}, "v0"), ({"status": "failed"}, ""), ({"fingerprint": "detection/0 metadata:none"}, "")],
)
def test_only_what_may_stay_is_asked_for_changes(tmp_path: Path, change: dict[str, str], known: str) -> None:
    """A page whose parser is a better one now has to be fetched in full."""
    fingerprint = ledger.fingerprint(ledger.detection_id(), "none")
    before = SourceRecord("web:a", "ingested", "d", "h", fingerprint, 1, validator="v0")
    web = Web(["a"])
    step = replace(web.steps[0], before=replace(before, **change))  # type: ignore[arg-type]
    feed = Feed([step], web, tmp_path, given={})
    tasks = list(finished(feed))
    assert web.known == [known]
    assert len(tasks) == (0 if known else 1)
    if known:
        ((settled,),) = [outcome.settled for outcome in feed.settled()]
        assert settled.unchanged
    feed.close()


def test_members_come_before_the_next_source(tmp_path: Path) -> None:
    """And the end is not reached while an archive may have some."""
    web = Web(["one", "two"])
    feed = Feed(web.steps, web, tmp_path, given={})
    first = next(feed)
    member = replace(first, uri="web:one!/m", path=tmp_path / "m")
    feed.take(first.uri, [member])
    assert [next(feed).uri, next(feed).uri] == ["web:one!/m", "web:two"]
    late = replace(first, uri="web:two!/m", path=tmp_path / "m2")

    def finish() -> None:
        feed.take("web:two", [late])
        feed.take("web:one!/m", [])

    threading.Timer(0.2, finish).start()
    assert next(feed).uri == "web:two!/m"
    feed.take("web:two!/m", [])
    assert list(feed) == []
    feed.close()


def test_closing_ends_every_wait(tmp_path: Path) -> None:
    """For a page that does not come, and for members that may."""
    web = Web(["hang"])
    feed = Feed(web.steps, web, tmp_path, given={})
    threading.Timer(0.2, feed.close).start()
    begin = time.monotonic()
    assert list(feed) == []
    assert time.monotonic() - begin < 5


def test_an_outcome_of_a_failed_task_says_what_it_was(tmp_path: Path) -> None:
    """With the number of times that it was tried."""
    before = SourceRecord("web:a", "failed", "d", "", "x", 1, attempts=2)
    task = Task("web:a", "a", tmp_path / "a", 1, before=before)
    (line,) = settled_lines(failed(task, FetchError("later")))
    assert (line.attempts, line.reason, line.error) == (3, "unreadable", "later")


def test_archives_within_archives_have_no_more_members_than_one(tmp_path: Path) -> None:
    """What would become a million files is a failure of the archive that goes too far; its copies are gone."""
    web = Web(["a.zip"])
    feed = Feed(web.steps, web, tmp_path, given={}, most_members=3)
    outer = next(feed)
    members = [Task(f"web:a.zip!/{n}.zip", f"{n}.zip", tmp_path / f"m{n}", 1, temporary=True) for n in range(2)]
    assert feed.admitted(Outcome(outer.uri, members=tuple(members))).members == tuple(members)
    feed.take(outer.uri, members)
    inner = next(feed)
    copies = [tmp_path / f"copy{n}" for n in range(2)]
    for copy in copies:
        copy.write_text("x")
    within = tuple(Task(f"{inner.uri}!/{copy.name}", copy.name, copy, 1, temporary=True) for copy in copies)
    refused = feed.admitted(Outcome(inner.uri, members=within))
    (settled,) = refused.settled
    assert (settled.line.source_uri, settled.line.reason, refused.members) == (inner.uri, "limit", ())
    assert "more than 3 members" in settled.line.error
    assert not any(copy.exists() for copy in copies)

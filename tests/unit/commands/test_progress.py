"""Progress tells the truth: what is done, how fast, how long yet, and what holds it up."""

import io
import sys

import pytest

from footnote.progress import Ingested, progress
from ingest.events import Discovered, Embedded, Finished, Ticked


class Clock:
    """Seconds as they are set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("footnote.progress.time.monotonic", made)
    return made


def finished(outcome: str = "ingested", size: int = 100, *, known: bool = False) -> Finished:
    return Finished("file:///a", "a", outcome, size, known=known)  # type: ignore[arg-type]


def test_files_and_bytes_are_counted(clock: Clock) -> None:
    """What is unchanged is done, and is no work: it counts as files, not as bytes."""
    count = Ingested()
    for event in (Discovered(4, 400), finished("unchanged"), finished(), finished("failed")):
        count.take(event)
    assert (count.noun, count.done, count.total, count.failed) == ("files", 3, 4, 1)
    assert (count.size_done, count.size) == (200, 300)
    assert "200 B of 300 B" in count.rate()
    assert "1 failed" in count.rate()


def test_known_failures_are_no_work(clock: Clock) -> None:
    """Nor failures of this run."""
    count = Ingested()
    for event in (Discovered(2, 200), finished("failed", known=True)):
        count.take(event)
    assert (count.done, count.failed, count.size) == (1, 0, 100)


def test_an_archive_that_is_opened_adds_to_the_work(clock: Clock) -> None:
    """The new totals hold, without what was unchanged."""
    count = Ingested()
    for event in (Discovered(2, 200), finished("unchanged"), Discovered(12, 1200)):
        count.take(event)
    assert (count.total, count.size) == (12, 1100)


def test_the_rate_is_of_the_last_seconds(clock: Clock) -> None:
    """A pause shows soon, and a fast start is forgotten."""
    count = Ingested()
    for _ in range(20):
        clock.now += 1
        count.take(Embedded(100))
    assert count.per_second() == pytest.approx(100, rel=0.1)
    for _ in range(30):
        clock.now += 1
        count.take(Ticked("reading"))
    assert count.per_second() == 0


def test_the_end_is_foretold_by_bytes_when_there_is_ground_for_it(clock: Clock) -> None:
    """Not in the first seconds, and not from next to nothing."""
    count = Ingested()
    count.take(Discovered(100, 10_000))
    count.take(finished(size=2000))
    assert count.seconds_left() is None
    clock.now += 20
    assert count.seconds_left() == pytest.approx(80)
    assert "about 80 s left" in count.rate()
    sparse = Ingested()
    sparse.take(Discovered(100, 10_000))
    sparse.take(finished(size=10))
    clock.now += 60
    assert sparse.seconds_left() is None


def test_a_file_that_takes_long_is_named(clock: Clock) -> None:
    """The slowest of those that are being read."""
    count = Ingested()
    count.take(Ticked("reading", (("small.txt", 0.2), ("big.pdf", 12.3))))
    assert count.rate().endswith("reading big.pdf 12 s")
    count.take(Ticked("reading", (("small.txt", 0.2),)))
    assert "small.txt" not in count.rate()


def test_without_a_terminal_there_is_a_line_now_and_then(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain text, at most every ten seconds, even when nothing gets finished."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress() as tell:
        tell(Discovered(3, 300))
        for _ in range(25):
            clock.now += 1
            tell(Ticked("reading", (("big.pdf", 5.0),)))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("0 of 3 files, 0 B of 300 B, 0 chunks, 0/s, reading big.pdf")


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """For --json, which has events of its own."""
    with progress(quiet=True) as tell:
        tell(finished())
    assert capsys.readouterr().err == ""

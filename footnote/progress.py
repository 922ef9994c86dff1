"""Progress of a long run on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ingest.events import Discovered, Embedded, Finished, OnEvent, Planned, Pruning, Ticked
from ingest.events import Event as IngestEvent
from retrieval import transfer

_PLAIN_SECONDS = 10.0
_RECENT_SECONDS = 15.0
"""What a rate is of: the last so many seconds."""
_LONG_SECONDS = 3.0
"""A file that takes longer to read is named."""
_ETA_SECONDS = 10.0
_ETA_SHARE = 0.03
"""No end is foretold before so many seconds, and so much of the bytes."""


class Count(Protocol):
    """What has been done so far, by the events of a run."""

    noun: str
    """What is counted, in the plural."""
    total: int
    """How many of them there are; 0 when that is not known before the end."""
    done: int

    def take(self, event: Any) -> None:
        """One more event."""
        ...

    def rate(self) -> str:
        """How fast it goes, and what else is worth a look."""
        ...


@contextmanager
def progress(*, quiet: bool = False, noun: str = "file") -> Iterator[OnEvent]:
    """What to hand to `ingest.pipeline.ingest` as `on_event`; `noun` says what is counted, in the singular."""
    with _shown(Ingested(noun), quiet) as show:
        yield show


@contextmanager
def tallied(count: "Ingested", *, quiet: bool = False) -> Iterator[OnEvent]:
    """The same with a count of the caller's own, which is kept up when nothing is shown, too."""
    with _shown(count, quiet) as show:
        yield count.take if quiet else show


@contextmanager
def copy_progress(*, quiet: bool = False) -> Iterator[Callable[[transfer.Event], None]]:
    """What to hand to `retrieval.transfer.copy` as `on_event`."""
    with _shown(_Copied(), quiet) as show:
        yield show


@contextmanager
def _shown(count: Count, quiet: bool) -> Iterator[Callable[[Any], None]]:
    if quiet:
        yield lambda event: None  # noqa: ARG005 - nothing to show
    elif sys.stderr.isatty():
        with _bar(count) as show:
            yield show
    else:
        yield _plain(count)


@contextmanager
def _bar(count: Count) -> Iterator[Callable[[Any], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(count.noun, total=None, rate="")

        def show(event: Any) -> None:
            count.take(event)
            bar.update(task, description=count.noun, total=count.total or None, completed=count.done, rate=count.rate())

        yield show


def _plain(count: Count) -> Callable[[Any], None]:
    last = time.monotonic()

    def show(event: Any) -> None:
        nonlocal last
        count.take(event)
        if time.monotonic() - last > _PLAIN_SECONDS:
            last = time.monotonic()
            of = f" of {count.total:,}" if count.total else ""
            print(f"{count.done:,}{of} {count.noun}, {count.rate()}", file=sys.stderr, flush=True)

    return show


class Ingested:
    """Files, or whatever `noun` says; documents of a data set, which does not say before its end how many it holds."""

    def __init__(self, noun: str = "file", *, begins: str = "documents") -> None:
        """`begins` stands there until it is known how many there are."""
        self.noun = begins
        self._known = f"{noun}s"
        self.total = 0
        self.done = 0
        self.failed = 0
        self.chunks = 0
        self.size = 0
        """Bytes of all that there is to do, without what is unchanged."""
        self.size_done = 0
        self.ticked = Ticked("reading")
        self._begin = time.monotonic()
        self._recent = deque([(self._begin, 0)])

    def take(self, event: IngestEvent) -> None:
        """One more event."""
        match event:
            case Discovered(files, size):
                self.noun, self.total = self._known, files
                self.size = size - self._unchanged
            case Embedded(chunks):
                self.chunks += chunks
            case Finished():
                self._finish(event)
            case Ticked():
                self.ticked = event
            case Planned() | Pruning():
                pass
        self._remember()

    def per_second(self) -> float:
        """Chunks embedded in the last seconds, for each of them."""
        (begin, before), now = self._recent[0], time.monotonic()
        return (self.chunks - before) / max(1e-3, now - begin)

    def seconds_left(self) -> float | None:
        """Until all is done, by the bytes so far; None while that would be a guess."""
        seconds = time.monotonic() - self._begin
        if seconds < _ETA_SECONDS or self.size_done < _ETA_SHARE * self.size or self.size_done >= self.size:
            return None
        return seconds * (self.size - self.size_done) / self.size_done

    def rate(self) -> str:
        parts = [f"{_size(self.size_done)} of {_size(self.size)}"] if self.size else []
        parts.append(f"{self.chunks:,} chunks, {self.per_second():.0f}/s")
        if (left := self.seconds_left()) is not None:
            parts.append(f"about {_duration(left)} left")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if slow := self._slow():
            parts.append(slow)
        return ", ".join(parts)

    _unchanged = 0
    """Bytes of what is as it was."""

    def _finish(self, event: Finished) -> None:
        self.done += 1
        if event.outcome == "unchanged" or event.known:
            self._unchanged += event.size
            self.size = max(0, self.size - event.size)
            return
        self.size_done += event.size
        self.failed += event.outcome != "ingested"

    def _slow(self) -> str:
        """The file that takes longest to read, when nothing else is going on."""
        name, seconds = max(self.ticked.reading, key=lambda one: one[1], default=("", 0.0))
        if seconds < _LONG_SECONDS:
            return ""
        return f"reading {name} {seconds:.0f} s"

    def _remember(self) -> None:
        now = time.monotonic()
        if now - self._recent[-1][0] > 1.0:
            self._recent.append((now, self.chunks))
        while len(self._recent) > 1 and now - self._recent[1][0] > _RECENT_SECONDS:
            self._recent.popleft()


class _Copied:
    """Documents copied or found there; then, from none again, documents compared."""

    def __init__(self) -> None:
        self.noun = "documents copied"
        self.total = 0
        self.done = 0
        self._chunks = 0
        self._begin = time.monotonic()

    def take(self, event: transfer.Event) -> None:
        if isinstance(event, transfer.Begun):
            self.total = event.documents
            return
        if isinstance(event, transfer.Completing):
            self.noun = "documents compared, completing the indexes"
            return
        if event.step == "compared" and self.noun == "documents copied":
            self.noun, self.done, self._chunks, self._begin = "documents compared", 0, 0, time.monotonic()
        self.done += event.documents
        self._chunks += event.chunks

    def rate(self) -> str:
        return _per_second(self._chunks, self._begin)


def _per_second(chunks: int, begin: float) -> str:
    seconds = max(1e-3, time.monotonic() - begin)
    return f"{chunks:,} chunks, {chunks / seconds:.0f}/s"


def _size(count: int) -> str:
    """'3.4 MB'."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _duration(seconds: float) -> str:
    """'40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Progress of a long run on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ingest.pipeline import Discovered, Embedded, Event, Finished
from retrieval import transfer

_PLAIN_SECONDS = 10.0


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
def progress(*, quiet: bool = False, noun: str = "file") -> Iterator[Callable[[Event], None]]:
    """What to hand to `ingest.pipeline.ingest` as `on_event`; `noun` says what is counted, in the singular."""
    with _shown(_Ingested(noun), quiet) as show:
        yield show


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


class _Ingested:
    """Files, or whatever `noun` says; documents of a data set, which does not say before its end how many it holds."""

    def __init__(self, noun: str) -> None:
        self.noun = "documents"
        self._known = f"{noun}s"
        self.total = 0
        self.done = 0
        self._failed = 0
        self._chunks = 0
        self._begin = time.monotonic()

    def take(self, event: Event) -> None:
        match event:
            case Discovered(files):
                self.noun, self.total = self._known, files
            case Embedded(chunks):
                self._chunks += chunks
            case Finished():
                self.done += 1
                self._failed += event.outcome in ("failed", "unsupported")

    def rate(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{_per_second(self._chunks, self._begin)}{failed}"


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

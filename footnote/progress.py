"""Progress of an ingest run on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingest.pipeline import Discovered, Embedded, Event, Finished

_PLAIN_SECONDS = 10.0


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """What to hand to `ingest.pipeline.ingest` as `on_event`."""
    if quiet:
        yield lambda event: None  # noqa: ARG005 - nothing to show
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _plain()


@contextmanager
def _bar() -> Iterator[Callable[[Event], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    state = _Count()
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("files", total=None, rate="")

        def show(event: Event) -> None:
            state.take(event)
            bar.update(task, total=state.files or None, completed=state.done, rate=state.rate())

        yield show


def _plain() -> Callable[[Event], None]:
    state = _Count()
    last = time.monotonic()

    def show(event: Event) -> None:
        nonlocal last
        state.take(event)
        if time.monotonic() - last > _PLAIN_SECONDS:
            last = time.monotonic()
            print(f"{state.so_far()}, {state.rate()}", file=sys.stderr, flush=True)

    return show


class _Count:
    """What has been done so far."""

    def __init__(self) -> None:
        self.files = 0
        self.done = 0
        self.failed = 0
        self.chunks = 0
        self._begin = time.monotonic()

    def take(self, event: Event) -> None:
        match event:
            case Discovered(files):
                self.files = files
            case Embedded(chunks):
                self.chunks += chunks
            case Finished():
                self.done += 1
                self.failed += event.outcome in ("failed", "unsupported")

    def so_far(self) -> str:
        # How many documents a data set holds is not known before its end.
        return f"{self.done:,} of {self.files:,} files" if self.files else f"{self.done:,} documents"

    def rate(self) -> str:
        seconds = max(1e-3, time.monotonic() - self._begin)
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.chunks:,} chunks, {self.chunks / seconds:.0f}/s{failed}"

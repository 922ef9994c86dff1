"""Readers side by side, wherever they read: a thread of this process waits for each, and outcomes are bounded."""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Protocol

from ingest.engines.supervision import Stopped
from ingest.tasks import Outcome, Task

_READY = 64
"""Outcomes that may be ready while the embedder is busy with earlier ones."""
_READY_BYTES = 64 * 2**20
"""The same in bytes; one outcome alone may have more."""
_LEAVE_SECONDS = 2.0


class Reader(Protocol):
    """Reads one file at a time; `prepare` and `end` belong to one thread, `stop` may come from any."""

    @property
    def busy(self) -> tuple[str, float] | None:
        """Name of the file that is being read, and since when by `time.monotonic`."""
        ...

    def prepare(self, task: Task) -> tuple[Outcome, int]:
        """The outcome and its size in bytes. Raises Stopped, and nothing for what the task does."""
        ...

    def stop(self) -> None:
        """Let go of the task, and take no other."""
        ...

    def end(self) -> None:
        """Release what belongs to it."""
        ...


class Threads:
    """One for each reader: it takes a task, has it read, and takes the next."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = readers
        self._taking = threading.Lock()
        self._ready = _Ready()
        self._threads: list[threading.Thread] = []

    def prepare(self, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
        iterator = iter(tasks)
        self._ready.expect(len(self._readers))
        for reader in self._readers:
            thread = threading.Thread(target=self._serve, args=(reader, iterator), name="worker", daemon=True)
            self._threads.append(thread)
            thread.start()
        try:
            yield from self._ready
        finally:
            self.close()

    def reading(self) -> list[tuple[str, float]]:
        now = time.monotonic()
        return [(busy[0], now - busy[1]) for one in self._readers if (busy := one.busy) is not None]

    def close(self) -> None:
        self._ready.close()
        for reader in self._readers:
            reader.stop()
        until = time.monotonic() + _LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _serve(self, reader: Reader, tasks: Iterator[Task]) -> None:
        """What one thread does: a task, its outcome, the next."""
        error: BaseException | None = None
        try:
            while (task := self._next(tasks)) is not None:
                self._ready.put(*reader.prepare(task))
        except Stopped:
            pass
        except BaseException as exc:  # handed over to the consumer, whatever it is
            error = exc
        finally:
            reader.end()
            self._ready.leave(error)

    def _next(self, tasks: Iterator[Task]) -> Task | None:
        with self._taking:
            return next(tasks, None)


class _Ready:
    """Outcomes on their way from the threads to the consumer: bounded in number and bytes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._outcomes: deque[tuple[Outcome, int]] = deque()
        self._bytes = 0
        self._makers = 0
        self._error: BaseException | None = None
        self._closed = False

    def expect(self, makers: int) -> None:
        """So many threads will `put`, and `leave` in the end."""
        self._makers += makers

    def put(self, outcome: Outcome, size: int) -> None:
        """Wait for room. Raises Stopped when nobody takes anything any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._outcomes or self._has_room())
            if self._closed:
                raise Stopped("the engine was closed")
            self._outcomes.append((outcome, size))
            self._bytes += size
            self._changed.notify_all()

    def leave(self, error: BaseException | None) -> None:
        """One maker is done, or has failed: then the consumer hears of it at once."""
        with self._changed:
            self._makers -= 1
            self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Outcome]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outcomes or self._error or not self._makers)
                if self._error:
                    raise self._error
                if not self._outcomes:
                    return
                outcome, size = self._outcomes.popleft()
                self._bytes -= size
                self._changed.notify_all()
            yield outcome

    def _has_room(self) -> bool:
        return len(self._outcomes) < _READY and self._bytes < _READY_BYTES

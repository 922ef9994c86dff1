"""Worker processes of this machine, each with limits on memory, processor time and time of the clock."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator

from ingest.engines.supervision import Stopped, Supervisor
from ingest.indexing import Cutter
from ingest.settings import IngestSettings
from ingest.tasks import Outcome, Task
from retrieval.ports import Embedders

_READY = 64
"""Outcomes that may be ready while the embedder is busy with earlier ones."""
_READY_BYTES = 64 * 2**20
"""The same in bytes; one outcome alone may have more."""
_LEAVE_SECONDS = 2.0


class LocalEngine:
    """The port `Engine` in `workers` processes, each served by a thread of this one."""

    def __init__(self, cutter: Callable[[], Cutter], settings: IngestSettings, *, workers: int) -> None:
        self._supervisors = [Supervisor(cutter, settings) for _ in range(workers)]
        self._taking = threading.Lock()
        self._ready = _Ready()
        self._threads: list[threading.Thread] = []

    def prepare(self, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
        iterator = iter(tasks)
        self._ready.expect(len(self._supervisors))
        for supervisor in self._supervisors:
            thread = threading.Thread(target=self._serve, args=(supervisor, iterator), name="worker", daemon=True)
            self._threads.append(thread)
            thread.start()
        try:
            yield from self._ready
        finally:
            self.close()

    def reading(self) -> list[tuple[str, float]]:
        now = time.monotonic()
        return [(busy[0], now - busy[1]) for one in self._supervisors if (busy := one.busy) is not None]

    def embedders(self, embedders: Embedders) -> Embedders:
        return embedders

    def close(self) -> None:
        self._ready.close()
        for supervisor in self._supervisors:
            supervisor.stop()
        until = time.monotonic() + _LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _serve(self, supervisor: Supervisor, tasks: Iterator[Task]) -> None:
        """What one thread does: a task, its outcome, the next."""
        error: BaseException | None = None
        try:
            while (task := self._next(tasks)) is not None:
                self._ready.put(*supervisor.prepare(task))
        except Stopped:
            pass
        except BaseException as exc:  # handed over to the consumer, whatever it is
            error = exc
        finally:
            supervisor.end()
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

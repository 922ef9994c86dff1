"""Reads and cuts within this process, ahead of the embedder in a thread. No limits but those of sizes."""

import threading
import time
from collections.abc import Callable, Generator, Iterable

from ingest.ahead import ahead
from ingest.indexing import Cutter
from ingest.preparation import prepare
from ingest.settings import IngestSettings
from ingest.tasks import Outcome, Task
from retrieval.ports import Embedders

_AHEAD = 64
"""Outcomes that may be ready while the embedder is busy with earlier ones."""


class InlineEngine:
    """The port `Engine` in one thread; in the order of the tasks."""

    def __init__(self, cutter: Callable[[], Cutter], settings: IngestSettings) -> None:
        self._cutter = cutter
        self._settings = settings
        self._lock = threading.Lock()
        self._busy: tuple[str, float] | None = None

    def prepare(self, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
        return ahead((self._prepare(task) for task in tasks), size=_AHEAD)

    def reading(self) -> list[tuple[str, float]]:
        with self._lock:
            return [(self._busy[0], time.monotonic() - self._busy[1])] if self._busy else []

    def embedders(self, embedders: Embedders) -> Embedders:
        return embedders

    def close(self) -> None:
        """Nothing is left when the iterator is closed."""

    def _prepare(self, task: Task) -> Outcome:
        with self._lock:
            self._busy = task.name, time.monotonic()
        try:
            return prepare(task, cutter=self._cutter(), settings=self._settings)
        finally:
            with self._lock:
                self._busy = None

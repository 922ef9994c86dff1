"""Worker processes of this machine, each with limits on memory, processor time and time of the clock."""

from collections.abc import Callable, Generator, Iterable

from ingest.engines.serving import Threads
from ingest.engines.supervision import Supervisor
from ingest.indexing import Cutter
from ingest.settings import IngestSettings
from ingest.tasks import Outcome, Task
from retrieval.ports import Embedders


class LocalEngine:
    """The port `Engine` in `workers` processes."""

    def __init__(self, cutter: Callable[[], Cutter], settings: IngestSettings, *, workers: int) -> None:
        self._threads = Threads([Supervisor(cutter, settings) for _ in range(workers)])

    def prepare(self, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
        return self._threads.prepare(tasks)

    def reading(self) -> list[tuple[str, float]]:
        return self._threads.reading()

    def embedders(self, embedders: Embedders) -> Embedders:
        return embedders

    def close(self) -> None:
        self._threads.close()

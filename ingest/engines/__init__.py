"""Who reads and cuts documents: this process, worker processes, or a Ray cluster. One port, the same results.

inline.py   in this process, ahead in a thread; no limits, for tests and for documents that need no parsing
local.py    worker processes with limits on memory, CPU and time
ray.py      actors of a Ray cluster: see ray_cluster.py, ray_embedding.py
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol

from ingest.indexing import Cutter
from ingest.settings import IngestSettings
from ingest.tasks import Outcome, Task
from retrieval.cores import usable_cores
from retrieval.ports import Embedders


class Engine(Protocol):
    """Prepares sources in any order, as many at once as it has workers."""

    def prepare(self, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
        """One outcome per task, in the order in which they get ready.

        Takes only as many tasks ahead as it needs to keep busy. A worker that dies or exceeds its limits makes its
        task a failure, after one more try in a fresh worker; never raises for what one task does.
        """
        ...

    def reading(self) -> Sequence[tuple[str, float]]:
        """The files that are being read now: name, and for how many seconds."""
        ...

    def embedders(self, embedders: Embedders) -> Embedders:
        """The embedders to use: the given ones, or such as have their work done elsewhere, with the same vectors."""
        ...

    def close(self) -> None:
        """Stop the workers, whatever they are doing."""
        ...


def build_engine(cutter: Callable[[], Cutter], settings: IngestSettings) -> Engine:
    """The engine that the settings name; `cutter` gives that of the edition which is live now."""
    # Each is imported when it is wanted: Ray is an extra.
    if settings.engine == "ray":
        from ingest.engines.ray import RayEngine  # noqa: PLC0415

        return RayEngine(cutter, settings)
    workers = max(1, usable_cores() // 2) if settings.workers is None else settings.workers
    if workers == 0:
        from ingest.engines.inline import InlineEngine  # noqa: PLC0415

        return InlineEngine(cutter, settings)
    from ingest.engines.local import LocalEngine  # noqa: PLC0415

    return LocalEngine(cutter, settings, workers=workers)

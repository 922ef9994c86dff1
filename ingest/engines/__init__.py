"""Who reads and cuts documents: this process, worker processes, or a Ray cluster. One port, the same results.

inline.py   in this process, ahead in a thread; no limits, for tests and for documents that need no parsing
local.py    worker processes with limits on memory, CPU and time
ray.py      tasks and actors of a Ray cluster
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from ingest.tasks import Outcome, Task
from retrieval.ports import Embedders


class Engine(Protocol):
    """Prepares sources in any order, as many at once as it has workers."""

    def prepare(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """One outcome per task, in the order in which they get ready.

        Takes only as many tasks ahead as it needs to keep busy. A worker that dies or exceeds its limits makes its
        task a failure, after one more try in a fresh worker; never raises for what one task does.
        """
        ...

    def embedders(self, embedders: Embedders) -> Embedders:
        """The embedders to use: the given ones, or such as have their work done elsewhere, with the same vectors."""
        ...

    def close(self) -> None:
        """Stop the workers, whatever they are doing."""
        ...

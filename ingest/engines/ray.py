"""Reading and embedding on a Ray cluster: actors that each watch a worker process, and actors that each hold a model.

Files and models go to the actors as bytes: other machines need Footnote installed, and no folder of this one. An actor
reads within the same kind of process, under the same limits, as the local engine does, so that results and errors are
the same. An actor, or its machine, that is lost is replaced, and its task done again. Everything is written from here:
what is done twice is written once.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.engines.ray_cluster import RETRIES, Cluster, brief
from ingest.engines.ray_embedding import RayEmbedders
from ingest.engines.serving import Threads
from ingest.engines.supervision import Stopped, Supervisor
from ingest.indexing import Cutter
from ingest.preparation import failed
from ingest.settings import IngestSettings
from ingest.sources import read_file
from ingest.tasks import Outcome, Task
from retrieval.errors import LoadError, WorkerDied
from retrieval.ports import Embedders

_LOOK_SECONDS = 0.2


class RayEngine:
    """The port `Engine` on the cluster at `settings.ray_address`, or on one of its own; connects when first used."""

    def __init__(self, cutter: Callable[[], Cutter], settings: IngestSettings) -> None:
        self._cutter = cutter
        self._settings = settings
        self._cluster = Cluster(settings)
        self._threads: Threads | None = None

    def prepare(self, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
        cluster = self._cluster
        cutters = _Cutters(cluster.connected(), self._cutter)
        local = _Local(self._cutter, self._settings)
        self._threads = Threads([_RemoteReader(cluster, cutters, local) for _ in range(cluster.readers())])
        try:
            yield from self._threads.prepare(tasks)
        finally:
            local.end()

    def reading(self) -> list[tuple[str, float]]:
        return self._threads.reading() if self._threads else []

    def embedders(self, embedders: Embedders) -> Embedders:
        return RayEmbedders(embedders, self._cluster) if self._settings.ray_embedders else embedders

    def close(self) -> None:
        if self._threads:
            self._threads.close()
        self._cluster.close()


class _Cutters:
    """The cutter of the live edition in the cluster's memory: put there once for each edition."""

    def __init__(self, ray: Any, cutter: Callable[[], Cutter]) -> None:
        self._ray = ray
        self._cutter = cutter
        self._lock = threading.Lock()
        self._put: tuple[int, Any] | None = None

    def ref(self) -> Any:
        with self._lock:
            cutter = self._cutter()
            if self._put is None or self._put[0] != cutter.edition:
                self._put = cutter.edition, self._ray.put(cutter)
            return self._put[1]


class _Local:
    """Reads what has to be read on this machine: the members of an archive are files in its spool folder."""

    def __init__(self, cutter: Callable[[], Cutter], settings: IngestSettings) -> None:
        self._lock = threading.Lock()
        self._supervisor = Supervisor(cutter, settings)

    def prepare(self, task: Task) -> tuple[Outcome, int]:
        with self._lock:
            return self._supervisor.prepare(task)

    def stop(self) -> None:
        self._supervisor.stop()

    def end(self) -> None:
        with self._lock:
            self._supervisor.end()


class _RemoteReader:
    """One actor; see `ingest.engines.serving.Reader`."""

    def __init__(self, cluster: Cluster, cutters: _Cutters, local: _Local) -> None:
        self._cluster = cluster
        self._settings = cluster.settings
        self._cutters = cutters
        self._local = local
        self._stopped = threading.Event()
        self._actor: Any = None
        self.busy: tuple[str, float] | None = None

    def prepare(self, task: Task) -> tuple[Outcome, int]:
        self.busy = task.name, time.monotonic()
        try:
            data = read_file(task.path, name=task.name, max_bytes=self._settings.max_file_bytes)
            outcome, size = self._asked(task, data)
        except LoadError as exc:
            return failed(task, exc), 0
        finally:
            self.busy = None
        return self._local.prepare(task) if outcome.archive is not None else (outcome, size)

    def stop(self) -> None:
        self._stopped.set()
        self._local.stop()

    def end(self) -> None:
        if self._actor is not None:
            self._cluster.kill(self._actor)
            self._actor = None

    def _asked(self, task: Task, data: bytes) -> tuple[Outcome, int]:
        """What the actor makes of it. Raises WorkerDied, Stopped."""
        ray = self._cluster.connected()
        sent = replace(task, path=Path(task.name), spool=None, temporary=False)
        answer = self._reader().prepare.remote(sent, ray.put(data), self._cutters.ref())
        while not ray.wait([answer], timeout=_LOOK_SECONDS)[0]:
            if self._stopped.is_set():
                raise Stopped("the engine was closed")
        try:
            found: tuple[Outcome, int] = ray.get(answer)
        except ray.exceptions.RayError as exc:
            if self._stopped.is_set():
                raise Stopped("the engine was closed") from exc
            self.end()
            raise WorkerDied(
                f"{task.name!r}: the Ray actor that read it died {RETRIES + 1} times ({brief(exc)})"
            ) from exc
        return found

    def _reader(self) -> Any:
        if self._actor is None:
            memory = self._settings.worker_memory_bytes
            self._actor = self._cluster.actor(_Reader, self._settings, num_cpus=1, memory=memory)
        return self._actor


class _Reader:
    """What an actor does: hand files to a worker process of its machine."""

    def __init__(self, settings: IngestSettings) -> None:
        self._cutter: Cutter | None = None
        self._supervisor = Supervisor(self._present, settings)

    def prepare(self, task: Task, data: bytes, cutter: Cutter) -> tuple[Outcome, int]:
        self._cutter = cutter
        with tempfile.TemporaryDirectory(prefix="footnote-ray-") as folder:
            path = Path(folder) / "source"
            path.write_bytes(data)
            outcome, size = self._supervisor.prepare(replace(task, path=path, spool=Path(folder)))
        return replace(outcome, members=()), size  # whose files are gone

    def _present(self) -> Cutter:
        assert self._cutter is not None  # noqa: S101 - it comes with each task
        return self._cutter

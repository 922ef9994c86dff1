"""Reading and embedding on a Ray cluster: actors that each watch a worker process, and actors that each hold a model.

Files and models go to the actors as bytes: other machines need Footnote installed, and no folder of this one. An actor
reads within the same kind of process, under the same limits, as the local engine does, so that results and errors are
the same. An actor, or its machine, that is lost is replaced, and its task done again. Everything is written from here:
what is done twice is written once.
"""

import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ingest.engines.serving import Threads
from ingest.engines.supervision import Stopped, Supervisor
from ingest.indexing import Cutter
from ingest.preparation import failed
from ingest.settings import IngestSettings
from ingest.sources import read_file
from ingest.tasks import Outcome, Task
from retrieval.errors import ConfigError, EmbedderError, FootnoteError, LoadError, MissingExtra, WorkerDied
from retrieval.ports import Embedder, Embedders, Tokenizer, Vectors
from retrieval.records import EmbedderInfo

_RETRIES = 3
"""How often a call is made again when its actor, or the actor's machine, has died."""
_LOOK_SECONDS = 0.2


class RayEngine:
    """The port `Engine` on the cluster at `settings.ray_address`, or on one of its own; connects when first used."""

    def __init__(self, cutter: Callable[[], Cutter], settings: IngestSettings) -> None:
        self._cutter = cutter
        self._settings = settings
        self._cluster = _Cluster(settings)
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
        return _RayEmbedders(embedders, self._cluster) if self._settings.ray_embedders else embedders

    def close(self) -> None:
        if self._threads:
            self._threads.close()
        self._cluster.close()


class _Cluster:
    """The connection to Ray. Thread-safe."""

    def __init__(self, settings: IngestSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._ray: Any = None
        self._is_ours = False
        self._closed = False
        self._actors: list[Any] = []

    def connected(self) -> Any:
        """The module `ray`, connected. Raises MissingExtra, and ConfigError for a cluster that cannot do the work."""
        with self._lock:
            if self._closed:
                raise Stopped("the engine was closed")
            if self._ray is None:
                ray = _import_ray(own=not self.settings.ray_address)
                if not ray.is_initialized():
                    self._connect(ray)
                    self._is_ours = True
                self._ray = ray
                self._check()
            return self._ray

    def readers(self) -> int:
        """Files that are read at the same time: as many as there are processors that do not embed."""
        if self.settings.workers:
            return self.settings.workers
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) - self._embedding_cpus())

    def actor(self, kind: type, *arguments: object, **options: object) -> Any:
        """A new actor, which is started anew when it dies, and does then what it was asked for."""
        ray = self.connected()
        made = ray.remote(kind).options(max_restarts=-1, max_task_retries=_RETRIES, **options).remote(*arguments)
        with self._lock:
            self._actors.append(made)
        return made

    def kill(self, actor: Any) -> None:
        """End an actor for good."""
        with suppress(Exception):  # the cluster may be gone, and the actor with it
            self._ray.kill(actor)
        with self._lock, suppress(ValueError):
            self._actors.remove(actor)

    def close(self) -> None:
        """End the actors, and let go of the cluster if it was connected for them."""
        with self._lock:
            self._closed = True
            actors = list(self._actors)
        for actor in actors:
            self.kill(actor)
        if self._is_ours:
            self._ray.shutdown()
            self._is_ours = False

    def _connect(self, ray: Any) -> None:
        address = self.settings.ray_address
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                ray.init(address="local", include_dashboard=False, **quiet)
        except (OSError, RuntimeError, ValueError) as exc:  # a ConnectionError is an OSError
            where = f"no Ray cluster at {address!r}" if address else "Ray cannot be started on this machine"
            raise ConfigError(f"{where}: {exc}; check ingest.ray_address, and that versions of Ray agree") from exc
        # Ray tells of actors that died on stdout, which belongs to our data, and has no public switch for it.
        ray._private.worker._worker_logs_enabled = False

    def _check(self) -> None:
        """What no machine of the cluster has would be waited for without end."""
        settings = self.settings
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = {"memory": settings.worker_memory_bytes, "CPU": 1.0}
        if settings.ray_embedders and settings.ray_gpus:
            wanted["GPU"] = settings.ray_gpus
        for name, amount in wanted.items():
            if not any(node.get(name, 0.0) >= amount for node in nodes):
                raise ConfigError(
                    f"no machine of the Ray cluster has {amount:g} of {name!r}; lower ingest.worker_memory_bytes or "
                    "ingest.ray_gpus, or add a machine"
                )
        processors = int(sum(node.get("CPU", 0.0) for node in nodes))
        if self._embedding_cpus() >= processors:
            raise ConfigError(
                f"ingest.ray_embedders is {settings.ray_embedders}, and the Ray cluster has {processors} processors: "
                "none is left to read files; lower it, or give the embedders GPUs"
            )

    def _embedding_cpus(self) -> int:
        return 0 if self.settings.ray_gpus else self.settings.ray_embedders


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

    def __init__(self, cluster: _Cluster, cutters: _Cutters, local: _Local) -> None:
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
                f"{task.name!r}: the Ray actor that read it died {_RETRIES + 1} times ({_brief(exc)})"
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


class _RayEmbedders:
    """The same models, with documents embedded on the cluster; see `retrieval.ports.Embedders`."""

    def __init__(self, embedders: Embedders, cluster: _Cluster) -> None:
        self._embedders = embedders
        self._cluster = cluster
        self._lock = threading.Lock()
        self._made: list[RayEmbedder] = []

    def of(self, info: EmbedderInfo) -> Embedder:
        local = self._embedders.of(info)
        with self._lock:
            known = next((one for one in self._made if one.local is local), None)
            if known is None:
                known = RayEmbedder(local, self._cluster)
                self._made.append(known)
            return known


class RayEmbedder:
    """Documents are embedded by actors, queries here. The local model can be pickled."""

    def __init__(self, local: Embedder, cluster: _Cluster) -> None:
        self.local = local
        self._cluster = cluster
        self._lock = threading.Lock()
        self._actors: list[Any] = []
        self._model: Any = None

    @property
    def info(self) -> EmbedderInfo:
        return self.local.info

    @property
    def tokenizer(self) -> Tokenizer:
        return self.local.tokenizer

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self.local.embed_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Raises EmbedderError when the actors die again and again."""
        vectors = np.zeros((len(texts), self.info.dimension), dtype=np.float32)
        if not texts:
            return vectors
        ray = self._cluster.connected()
        actors = self._encoders(ray)
        # Dealt out by length, so that no actor has all the long ones.
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        shares = [share for i in range(len(actors)) if (share := order[i :: len(actors)])]
        answers = [
            actor.embed.remote([self._model], [texts[row] for row in share])
            for actor, share in zip(actors, shares, strict=False)
        ]
        try:
            for share, made in zip(shares, ray.get(answers), strict=True):
                vectors[share] = made
        except ray.exceptions.RayTaskError as exc:
            if isinstance(exc.cause, FootnoteError):
                raise exc.cause from exc
            raise EmbedderError(f"{self.info.name!r} failed on the Ray cluster: {_brief(exc.cause)}") from exc
        except ray.exceptions.RayError as exc:
            raise EmbedderError(f"the Ray actors that embed with {self.info.name!r} died: {_brief(exc)}") from exc
        return vectors

    def _encoders(self, ray: Any) -> list[Any]:
        with self._lock:
            if not self._actors:
                settings = self._cluster.settings
                self._model = ray.put(self.local)
                processors = 0 if settings.ray_gpus else 1
                self._actors = [
                    self._cluster.actor(_Encoder, num_cpus=processors, num_gpus=settings.ray_gpus)
                    for _ in range(settings.ray_embedders)
                ]
            return self._actors


class _Encoder:
    """What an actor does: hold a model. One that is started anew gets it again with the next texts."""

    def __init__(self) -> None:
        self._embedder: Embedder | None = None

    def embed(self, model: Sequence[Any], texts: Sequence[str]) -> Vectors:
        """`model` holds the reference to the embedder: in a list, so that it is not fetched with every call."""
        if self._embedder is None:
            import ray  # noqa: PLC0415 - an actor has it

            self._embedder = ray.get(model[0])
        assert self._embedder is not None  # noqa: S101 - what was put there
        return self._embedder.embed_documents(texts)


def _import_ray(*, own: bool) -> Any:
    """The module; what it reads from the environment, it reads when it is imported. Raises MissingExtra."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    if own and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        # A cluster of our own listens on all addresses of the machine: without a token, anybody could run code in it.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray  # noqa: PLC0415 - an extra, and a second
    except ImportError as exc:
        raise MissingExtra("the engine 'ray' needs: pip install 'footnote[ray]'") from exc
    return ray


def _brief(error: object) -> str:
    """The first line: Ray adds tracebacks of other machines."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"

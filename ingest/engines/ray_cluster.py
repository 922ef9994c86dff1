"""The connection to a Ray cluster, or one that is started for the run, and the actors in it."""

import os
import secrets
import sys
import threading
from contextlib import suppress
from typing import Any

from ingest.engines.supervision import Stopped
from ingest.settings import IngestSettings
from retrieval.errors import ConfigError, MissingExtra

RETRIES = 3
"""How often a call is made again when its actor, or the actor's machine, has died."""


class Cluster:
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
                ray = import_ray(own=not self.settings.ray_address)
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
        made = ray.remote(kind).options(max_restarts=-1, max_task_retries=RETRIES, **options).remote(*arguments)
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


def import_ray(*, own: bool) -> Any:
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


def brief(error: object) -> str:
    """What kind of error, and its first line: Ray adds tracebacks of other machines."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"

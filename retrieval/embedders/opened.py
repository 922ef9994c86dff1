"""Embedders by their description: each edition of a collection names its own, whatever is configured now."""

import threading
from collections.abc import Callable

from retrieval.errors import ConfigError, EmbedderMismatch, ModelInvalid
from retrieval.ports import Embedder
from retrieval.records import EmbedderInfo


class OpenedEmbedders:
    """The port `Embedders`: the configured one, and those that editions were made with before.

    `configured` gives the former, or None where it cannot be what a description says; `open` makes what it says. Both
    are called when they are needed, once per model. Thread-safe.
    """

    def __init__(
        self, configured: Callable[[EmbedderInfo], Embedder | None], open: Callable[[EmbedderInfo], Embedder]
    ) -> None:
        self._configured = configured
        self._open = open
        self._opened: list[Embedder] = []
        self._lock = threading.Lock()

    def of(self, info: EmbedderInfo) -> Embedder:
        with self._lock:
            for embedder in self._opened:
                if embedder.info == info:
                    return embedder
            embedder = self._find(info)
            self._opened.append(embedder)
            return embedder

    def _find(self, info: EmbedderInfo) -> Embedder:
        configured = self._configured(info)
        if configured is not None:
            if configured.info == info:
                return configured
            if not info.model:
                raise _mismatch(info, configured.info)
        try:
            found = self._open(info)
        except (ConfigError, ModelInvalid) as exc:
            raise EmbedderMismatch(
                f"the collection was embedded with {_called(info)}, which cannot be opened: {exc}; "
                "bring that model back, or `footnote reindex` with another one"
            ) from exc
        if found.info != info:
            raise _mismatch(info, found.info)
        return found


def _mismatch(wanted: EmbedderInfo, found: EmbedderInfo) -> EmbedderMismatch:
    """Vectors of two models do not compare: better an error than a ranking by noise."""
    what = "name" if found.name != wanted.name else "files or settings"
    told = ("dimension", "window", "query_prefix", "document_prefix")
    differing = [
        f"{name} {getattr(wanted, name)!r}, not {getattr(found, name)!r}"
        for name in told
        if getattr(wanted, name) != getattr(found, name)
    ]
    details = f" ({'; '.join(differing)})" if differing else ""
    former = "set retrieval.model to the former" if found.name != wanted.name else "bring the former back"
    return EmbedderMismatch(
        f"the collection was embedded with {_called(wanted)}, but the model here is {_called(found)}, which differs in "
        f"its {what}{details}: {former}, or `footnote reindex` the collection with the latter"
    )


def _called(info: EmbedderInfo) -> str:
    """Its name, with the hash of its files where they are known."""
    return f"{info.name!r} ({info.sha256[:12]})" if info.sha256 else f"{info.name!r}"

"""Embedders by their description: each edition of a collection names its own, whatever is configured now."""

import threading
from collections.abc import Callable

from retrieval.errors import ConfigError, EmbedderMismatch, ModelInvalid
from retrieval.ports import Embedder
from retrieval.records import EmbedderInfo


class OpenedEmbedders:
    """The port `Embedders` over local models: the configured one, and those that editions were made with before.

    `configured` and `open` (adapter, model) are called when they are needed, once per model. Thread-safe.
    """

    def __init__(self, configured: Callable[[], Embedder], open: Callable[[str, str], Embedder]) -> None:
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
        configured = self._configured()
        if configured.info == info:
            return configured
        if not info.model:
            raise _mismatch(info, configured.info)
        try:
            found = self._open(info.adapter, info.model)
        except (ConfigError, ModelInvalid) as exc:
            raise EmbedderMismatch(
                f"the collection was embedded with {info.name!r} ({info.sha256[:12]}), which cannot be opened: {exc}; "
                "bring that model back, or `footnote reindex` with another one"
            ) from exc
        if found.info != info:
            raise _mismatch(info, found.info)
        return found


def _mismatch(wanted: EmbedderInfo, found: EmbedderInfo) -> EmbedderMismatch:
    """Vectors of two models do not compare: better an error than a ranking by noise."""
    what = "name" if found.name != wanted.name else "files or settings"
    return EmbedderMismatch(
        f"the collection was embedded with {wanted.name!r} ({wanted.sha256[:12]}), but the model here is "
        f"{found.name!r} ({found.sha256[:12]}), which differs in its {what}: set retrieval.model to the former, "
        "or `footnote reindex` the collection with the latter"
    )

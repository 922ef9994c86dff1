"""Embedding in actors of a Ray cluster, each of which holds a model."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.engines.ray_cluster import Cluster, brief
from retrieval.errors import EmbedderError, FootnoteError
from retrieval.ports import Embedder, Embedders, TokenEmbedder, Tokenizer, Vectors
from retrieval.records import EmbedderInfo


class RayEmbedders:
    """The same models, with documents embedded on the cluster; see `retrieval.ports.Embedders`."""

    def __init__(self, embedders: Embedders, cluster: Cluster) -> None:
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

    def __init__(self, local: Embedder, cluster: Cluster) -> None:
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
        vectors, _ = self._embed(texts, with_tokens=False)
        return vectors

    @property
    def token_code(self) -> str:
        return self.local.token_code if isinstance(self.local, TokenEmbedder) else ""

    def embed_documents_with_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        """Raises EmbedderError when the actors die again and again."""
        return self._embed(texts, with_tokens=True)

    def token_scores(self, query: str, weights: Callable[[str], float], blobs: Sequence[bytes]) -> NDArray[np.float32]:
        assert isinstance(self.local, TokenEmbedder)  # noqa: S101 - who has blobs has its code
        return self.local.token_scores(query, weights, blobs)

    def _embed(self, texts: Sequence[str], *, with_tokens: bool) -> tuple[Vectors, list[bytes]]:
        vectors = np.zeros((len(texts), self.info.dimension), dtype=np.float32)
        blobs = [b""] * len(texts)
        if not texts:
            return vectors, blobs
        ray = self._cluster.connected()
        actors = self._encoders(ray)
        # Dealt out by length, so that no actor has all the long ones.
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        shares = [share for i in range(len(actors)) if (share := order[i :: len(actors)])]
        answers = [
            actor.embed.remote([self._model], [texts[row] for row in share], with_tokens)
            for actor, share in zip(actors, shares, strict=False)
        ]
        try:
            for share, (made, some) in zip(shares, ray.get(answers), strict=True):
                vectors[share] = made
                for row, blob in zip(share, some, strict=with_tokens):
                    blobs[row] = blob
        except ray.exceptions.RayTaskError as exc:
            if isinstance(exc.cause, FootnoteError):
                raise exc.cause from exc
            raise EmbedderError(f"{self.info.name!r} failed on the Ray cluster: {brief(exc.cause)}") from exc
        except ray.exceptions.RayError as exc:
            raise EmbedderError(f"the Ray actors that embed with {self.info.name!r} died: {brief(exc)}") from exc
        return vectors, blobs

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

    def embed(self, model: Sequence[Any], texts: Sequence[str], with_tokens: bool) -> tuple[Vectors, list[bytes]]:
        """`model` holds the reference to the embedder: in a list, so that it is not fetched with every call."""
        if self._embedder is None:
            import ray  # noqa: PLC0415 - an actor has it

            self._embedder = ray.get(model[0])
        assert self._embedder is not None  # noqa: S101 - what was put there
        if with_tokens:
            assert isinstance(self._embedder, TokenEmbedder)  # noqa: S101 - whoever asks has looked
            return self._embedder.embed_documents_with_tokens(texts)
        return self._embedder.embed_documents(texts), []

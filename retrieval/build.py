"""Settings to objects: the only file that knows the adapters, and it imports each of them when it is asked for."""

from retrieval.ports import Collections, Embedder, Embedders, VectorStore
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings


def build_collections(settings: RetrievalSettings) -> Collections:
    """Where collections live. Raises ConfigError, MissingExtra, StoreUnavailable."""
    if settings.store == "memory":
        from retrieval.stores.memory import MemoryCollections

        return MemoryCollections()
    if settings.store == "pgvector":
        from retrieval.stores.pgvector import PgvectorCollections

        return PgvectorCollections(
            settings.postgres_url.get_secret_value(),
            password_file=settings.postgres_password_file,
            schema=settings.postgres_schema,
            connections=settings.postgres_connections,
            timeout=settings.postgres_timeout,
        )
    from retrieval.stores.faiss import FaissCollections

    return FaissCollections(settings.path, index=settings.faiss_index)


def build_embedder(settings: RetrievalSettings) -> Embedder:
    """What turns text into vectors. Raises ModelInvalid, MissingExtra."""
    if settings.embedder == "sentence-transformers":
        from retrieval.embedders.sentence_transformers import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder(settings.model, device=settings.device, batch_size=settings.batch_size)
    from retrieval.embedders.manifest import resolve_model
    from retrieval.embedders.onnx import OnnxEmbedder

    return OnnxEmbedder(
        resolve_model(settings.model, settings.models_path), threads=settings.threads, model=settings.model
    )


def build_embedders(settings: RetrievalSettings, configured: Embedder | None = None) -> Embedders:
    """What opens the embedder of any edition; `configured` is the one of the settings when it is there already."""
    from retrieval.embedders.opened import OpenedEmbedders

    def open_model(adapter: str, model: str) -> Embedder:
        return build_embedder(settings.model_copy(update={"embedder": adapter, "model": model}))

    return OpenedEmbedders(lambda: configured or build_embedder(settings), open_model)


def build_retriever(store: VectorStore, embedders: Embedders, settings: RetrievalSettings) -> Retriever:
    """The whole path from a query to ranked chunks, over one collection."""
    return Retriever(store, embedders, settings)

"""Settings to objects: the only file that knows the adapters, and it imports each of them when it is asked for."""

from retrieval.ports import Collections, Embedder, VectorStore
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

    return FaissCollections(settings.path)


def build_embedder(settings: RetrievalSettings) -> Embedder:
    """What turns text into vectors. Raises ModelInvalid, MissingExtra."""
    if settings.embedder == "sentence-transformers":
        from retrieval.embedders.sentence_transformers import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder(settings.model, device=settings.device, batch_size=settings.batch_size)
    from retrieval.embedders.manifest import resolve_model
    from retrieval.embedders.onnx import OnnxEmbedder

    return OnnxEmbedder(resolve_model(settings.model, settings.models_path), threads=settings.threads)


def build_retriever(store: VectorStore, embedder: Embedder, settings: RetrievalSettings) -> Retriever:
    """The whole path from a query to ranked chunks, over one collection."""
    return Retriever(store, embedder, settings)

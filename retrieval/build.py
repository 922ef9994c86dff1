"""Settings to objects: the only file that knows the adapters, and it imports each of them when it is asked for."""

from typing import TYPE_CHECKING

from retrieval.errors import ConfigError
from retrieval.ports import Collections, Embedder, Embedders, QueryPlanner, Reranker, VectorStore
from retrieval.records import EmbedderInfo
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings

if TYPE_CHECKING:
    from retrieval.embedders.service import ServiceOptions


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
    """What turns text into vectors. Asks no service for anything. Raises ConfigError, ModelInvalid, MissingExtra."""
    if settings.embedder == "sentence-transformers":
        from retrieval.embedders.sentence_transformers import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder(
            settings.model,
            device=settings.device,
            batch_size=settings.batch_size,
            dimensions=settings.dimensions,
            query_prefix=settings.query_prefix,
            document_prefix=settings.document_prefix,
        )
    if settings.embedder == "http":
        from retrieval.embedders.http import HttpEmbedder

        key = settings.embedder_api_key.get_secret_value()
        return HttpEmbedder(_service_options(settings), url=settings.embedder_url, api_key=key)
    if settings.embedder == "bedrock":
        from retrieval.embedders.bedrock import BedrockEmbedder

        return BedrockEmbedder(
            _service_options(settings),
            region=settings.embedder_region or None,
            endpoint_url=settings.embedder_url or None,
        )
    return _build_onnx(settings)


def _service_options(settings: RetrievalSettings) -> "ServiceOptions":
    from retrieval.embedders.service import ServiceOptions

    return ServiceOptions(
        model=settings.model,
        dimensions=settings.dimensions,
        window=settings.embedder_window,
        tokenizer=settings.embedder_tokenizer,
        query_prefix=settings.query_prefix or "",
        document_prefix=settings.document_prefix or "",
        batch=settings.embedder_batch,
        timeout=settings.embedder_timeout,
        retries=settings.embedder_retries,
    )


def _build_onnx(settings: RetrievalSettings) -> Embedder:
    from retrieval.embedders.manifest import resolve_model
    from retrieval.embedders.onnx import OnnxEmbedder

    for name in ("dimensions", "query_prefix", "document_prefix"):
        if getattr(settings, name):
            raise ConfigError(
                f"retrieval.{name} = {getattr(settings, name)!r} is not for the embedder 'onnx': a prepared model has "
                "its own, in its manifest; leave the setting out, or use the embedder 'sentence-transformers'"
            )
    return OnnxEmbedder(
        resolve_model(settings.model, settings.models_path), threads=settings.threads, model=settings.model
    )


def build_embedders(settings: RetrievalSettings, configured: Embedder | None = None) -> Embedders:
    """What opens the embedder of any edition; `configured` is the one of the settings when it is there already."""
    from retrieval.embedders.opened import OpenedEmbedders

    def configured_for(info: EmbedderInfo) -> Embedder | None:
        if settings.embedder == "http" and info.model and (info.adapter, info.model) != ("http", settings.model):
            return None  # a server would be asked for its dimension, and may be away, for an edition not of its making
        return configured or build_embedder(settings)

    def open_described(info: EmbedderInfo) -> Embedder:
        given = {"embedder": info.adapter, "model": info.model, "dimensions": 0}
        if info.adapter == "onnx":
            return build_embedder(settings.model_copy(update={**given, "query_prefix": None, "document_prefix": None}))
        given |= {"query_prefix": info.query_prefix, "document_prefix": info.document_prefix}
        given |= {"embedder_window": info.window}
        if (settings.embedder, info.adapter) == ("http", "bedrock"):
            given |= {"embedder_url": ""}  # that of the server, no endpoint of AWS
        whole = build_embedder(settings.model_copy(update=given))
        if whole.info.dimension <= info.dimension:
            return whole
        return build_embedder(settings.model_copy(update={**given, "dimensions": info.dimension}))

    return OpenedEmbedders(configured_for, open_described)


def build_reranker(settings: RetrievalSettings) -> Reranker | None:
    """The second model that the settings name, None where there is none. Raises ConfigError, ModelInvalid."""
    match settings.reranker:
        case "none":
            return None
        case "cross-encoder":
            from retrieval.rerankers.cross_encoder import CrossEncoderReranker

            return CrossEncoderReranker(
                _rerank_model(settings, "BAAI/bge-reranker-base"),
                device=settings.device,
                batch_size=settings.batch_size,
            )
        case "onnx":
            from retrieval.embedders.manifest import resolve_model
            from retrieval.rerankers.onnx import OnnxReranker

            model = _rerank_model(settings, "bge-reranker-base")
            folder = resolve_model(model, settings.models_path, "cross-encoder")
            return OnnxReranker(folder, threads=settings.threads)
        case "bedrock":
            from retrieval.rerankers.bedrock import BedrockReranker

            return BedrockReranker(
                model=_rerank_model(settings, "cohere.rerank-v3-5:0"),
                region=settings.rerank_region,
                endpoint_url=settings.rerank_url,
                timeout=settings.rerank_timeout,
            )
        case "http":
            from retrieval.rerankers.http import HttpReranker

            return HttpReranker(
                url=settings.rerank_url,
                model=settings.rerank_model,
                api=settings.rerank_api,
                api_key=settings.rerank_api_key.get_secret_value(),
                timeout=settings.rerank_timeout,
            )
        case "listwise":
            raise ConfigError(
                "retrieval.reranker 'listwise' is the chat model of [generation], which there is none of here; use it "
                "where there is one (generation.build.build_retriever: the commands and the API), or choose another"
            )


def _rerank_model(settings: RetrievalSettings, example: str) -> str:
    if not settings.rerank_model:
        raise ConfigError(
            f"retrieval.rerank_model is empty, the reranker {settings.reranker!r} needs it; "
            f"for example rerank_model = {example!r}"
        )
    return settings.rerank_model


def build_retriever(
    store: VectorStore,
    embedders: Embedders,
    settings: RetrievalSettings,
    *,
    reranker: Reranker | None = None,
    planner: QueryPlanner | None = None,
) -> Retriever:
    """The whole path from a query to ranked chunks, over one collection.

    `reranker` is one that is not in this layer; by default it is the one of the settings.
    """
    return Retriever(store, embedders, settings, reranker=reranker or build_reranker(settings), planner=planner)

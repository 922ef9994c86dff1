"""Settings to objects: the only file that imports chat models, each when it is asked for."""

from generation.answerer import Answerer
from generation.planning import ModelPlanner
from generation.ports import ChatModel, Retriever
from generation.reranking import ListwiseReranker
from generation.settings import GenerationSettings
from retrieval import build as retrieval_build
from retrieval.errors import ConfigError
from retrieval.ports import Embedders, QueryPlanner, Reranker, VectorStore
from retrieval.queries.rules import RulePlanner
from retrieval.retriever import Retriever as RankingRetriever
from retrieval.settings import RetrievalSettings


def build_retriever(
    store: VectorStore,
    embedders: Embedders,
    retrieval: RetrievalSettings,
    generation: GenerationSettings,
    *,
    reranker: Reranker | None = None,
) -> RankingRetriever:
    """The retriever of the settings, with those of its parts that use the chat model. Raises ConfigError.

    Retrievers of several collections share one `reranker`, which `build_reranker` makes: it may hold a large model.
    """
    reranker = reranker or build_reranker(retrieval, generation)
    planner = build_planner(generation)
    return retrieval_build.build_retriever(store, embedders, retrieval, reranker=reranker, planner=planner)


def build_reranker(retrieval: RetrievalSettings, generation: GenerationSettings) -> Reranker | None:
    """The reranker of the settings, the chat model included; None where there is none. Raises ConfigError."""
    if retrieval.reranker != "listwise":
        return retrieval_build.build_reranker(retrieval)
    if generation.chat_model == "extractive":
        raise ConfigError(
            "retrieval.reranker 'listwise' needs a chat model that can follow instructions, and generation.chat_model "
            "'extractive' cannot; set generation.chat_model to 'openai' or 'bedrock', or choose another reranker"
        )
    return ListwiseReranker(build_chat_model(generation), max_tokens=generation.max_tokens)


def build_planner(settings: GenerationSettings) -> QueryPlanner | None:
    """What makes queries complete; None where they are taken as they are. Raises ConfigError, MissingExtra."""
    if settings.query_planner == "none":
        return None
    rules = RulePlanner()
    if settings.query_planner == "rules" or settings.chat_model == "extractive":
        return rules  # the extractive model writes nothing of its own
    return ModelPlanner(build_chat_model(settings), fallback=rules, max_tokens=settings.max_tokens)


def build_answerer(retriever: Retriever, settings: GenerationSettings) -> Answerer:
    """The answerer over `retriever` with the chat model that the settings name. Raises ConfigError, MissingExtra."""
    return Answerer(retriever, build_chat_model(settings), settings)


def build_chat_model(settings: GenerationSettings) -> ChatModel:
    """The chat model that the settings name; no network yet. Raises ConfigError, MissingExtra."""
    match settings.chat_model:
        case "extractive":
            from generation.chat_models.extractive import ExtractiveModel  # noqa: PLC0415  # lazy, as the others

            return ExtractiveModel(max_sentences=settings.max_sentences)
        case "openai":
            from generation.chat_models.openai import OpenAIChatModel  # noqa: PLC0415  # lazy: httpx

            return OpenAIChatModel(
                base_url=_required(settings, "base_url", "http://localhost:8000/v1"),
                model=_required(settings, "model", "llama-3.1-8b-instruct"),
                api_key=settings.api_key.get_secret_value() if settings.api_key else None,
                timeout=settings.timeout,
            )
        case "bedrock":
            from generation.chat_models.bedrock import BedrockChatModel  # noqa: PLC0415  # lazy: boto3

            return BedrockChatModel(
                model=_required(settings, "model", "amazon.nova-lite-v1:0"),
                region=settings.region or None,
                endpoint_url=settings.base_url or None,
                timeout=settings.timeout,
            )


def _required(settings: GenerationSettings, name: str, example: str) -> str:
    value = str(getattr(settings, name))
    if not value:
        raise ConfigError(
            f"generation.{name} is empty, the chat model {settings.chat_model!r} needs it; "
            f"for example {name} = {example!r}"
        )
    return value

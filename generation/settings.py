"""Settings of generation: which chat model, when to decline, how long an answer may be."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from generation.weights import THRESHOLD


class GenerationSettings(BaseModel):
    """The `[generation]` table of footnote.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chat_model: Literal["extractive", "openai", "bedrock"] = Field(
        "extractive",
        description="What writes answers: 'extractive' quotes the best sentences and needs no model server; "
        "'openai' is any server with /v1/chat/completions (vLLM, TGI, Ollama, llama.cpp).",
    )
    model: str = Field("", description="Model id at the service, e.g. 'amazon.nova-lite-v1:0'.")
    base_url: str = Field("", description="Of the service, e.g. 'http://localhost:8000/v1'; empty takes AWS's own.")
    api_key: SecretStr | None = Field(None, description="Bearer token for 'openai'.")
    region: str = Field("", description="AWS region for 'bedrock'; empty takes the AWS configuration's.")
    timeout: float = Field(60.0, gt=0, le=3600, description="Seconds to wait for a model service to say something.")
    max_tokens: int = Field(512, ge=1, le=100_000, description="Most tokens that a model may write.")
    temperature: float = Field(0.0, ge=0, le=2, description="Of the model's sampling; 0 is repeatable.")

    query_planner: Literal["none", "rules", "model"] = Field(
        "rules",
        description="What makes follow-ups complete and takes several questions apart: rules (English, no call), or "
        "the chat model, with one call more for a query that has a history or may ask several things.",
    )
    context_tokens: int = Field(
        4000,
        ge=128,
        le=1_000_000,
        description="Most tokens of sources that a chat model is shown, counted by the embedder's tokenizer; what "
        "ranks last is left out first.",
    )
    merge: bool = Field(True, description="Whether adjacent chunks of a section are shown as one source.")
    expand: Literal["none", "neighbours", "section"] = Field(
        "none",
        description="What is shown around a chunk while there is room: the chunks before and after it, or its section.",
    )
    order: Literal["rank", "edges", "document"] = Field(
        "rank",
        description="Of the sources: best first, best at both ends, or each document's together in reading order.",
    )

    threshold: float = Field(
        THRESHOLD, ge=0, le=1, description="Questions whose evidence is below it are declined; 0 answers all."
    )
    k: int = Field(8, ge=1, le=100, description="Chunks to answer from.")
    max_sentences: int = Field(3, ge=1, le=20, description="Most sentences of an extractive answer.")
    max_question_characters: int = Field(2000, ge=1, le=100_000, description="Longer questions are refused.")

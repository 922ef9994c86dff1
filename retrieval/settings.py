"""Settings of retrieval: where collections live, which embedder, how candidates are fused."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class RetrievalSettings(BaseModel):
    """The `[retrieval]` table of footnote.toml. docs/ranking.md has what was measured of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Literal["faiss", "pgvector", "memory"] = Field(
        "faiss", description="Where collections live; docs/stores.md says which one when."
    )
    path: Path = Field(Path("footnote-data"), description="Folder of the embedded store (faiss).")
    faiss_index: Literal["hnsw", "flat", "compact"] = Field(
        "hnsw",
        description="How segments of 10,000 chunks and more are searched: by graph, exactly, or by codes of a fifth of "
        "the graph's size. Holds for segments that are written from then on.",
    )
    postgres_url: SecretStr = Field(
        SecretStr(""),
        description="For pgvector: postgresql://user:password@host:5432/database?sslmode=verify-full, as libpq has it.",
    )
    postgres_password_file: Path | None = Field(
        None, description="A file that holds the password, such as a mounted secret, instead of one in the URL."
    )
    postgres_schema: str = Field(
        "footnote", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Schema of Footnote's tables; made when missing."
    )
    postgres_connections: int = Field(8, ge=2, le=1000, description="Most connections of one process.")
    postgres_timeout: float = Field(
        10.0, gt=0.0, le=600.0, description="Seconds to wait for a connection, or for an answer to a query."
    )
    language: str = Field("english", description="Stemmer for new collections: a Snowball language, or 'none'.")

    embedder: Literal["onnx", "sentence-transformers", "bedrock", "http"] = Field(
        "onnx",
        description="What turns text into vectors; 'http' is any server with /v1/embeddings (TEI, vLLM, OpenAI).",
    )
    model: str = Field(
        "all-MiniLM-L6-v2", description="A shipped or prepared model's name, a folder, or the id at a service."
    )
    models_path: Path = Field(
        Path("footnote-models"), description="Folder of models made by `footnote models prepare`."
    )
    device: str = Field(
        "cpu", description="For sentence-transformers: 'cpu', 'cuda', 'cuda:1', or 'auto' for a GPU where there is one."
    )
    threads: int = Field(0, ge=0, description="Texts that an ONNX model works on at a time; 0 takes one per core.")
    batch_size: int = Field(
        8, ge=1, le=1024, description="For sentence-transformers: texts per model call, also of a cross-encoder."
    )
    dimensions: int = Field(
        0,
        ge=0,
        le=8192,
        description="Keep the first so many numbers of a vector (Matryoshka models; Titan v2 and OpenAI's at the "
        "service); 0 keeps all.",
    )
    embedder_url: str = Field(
        "", description="Of an embedding service, e.g. 'http://localhost:8080/v1'; for bedrock, of a VPC endpoint."
    )
    embedder_api_key: SecretStr = Field(SecretStr(""), description="Bearer token for 'http'.")
    embedder_region: str = Field("", description="AWS region for 'bedrock'; empty takes the AWS configuration's.")
    embedder_window: int = Field(
        512, ge=16, le=100_000, description="Tokens that a service's model reads; chunks are made to fit in it."
    )
    embedder_tokenizer: Path | None = Field(
        None,
        description="A service's tokenizer.json, by which chunks are sized; without it, tokens are counted cautiously "
        "by characters.",
    )
    embedder_batch: int = Field(32, ge=1, le=2048, description="Most texts in one request to a service.")
    embedder_timeout: float = Field(30.0, gt=0.0, le=600.0, description="Seconds to wait for a service's answer.")
    embedder_retries: int = Field(4, ge=0, le=20, description="Times that a request is tried again when that may help.")
    query_prefix: str | None = Field(
        None, description="What a service's or sentence-transformers model wants before queries; unset: its own."
    )
    document_prefix: str | None = Field(None, description="The same before documents.")

    candidates: int = Field(100, ge=1, le=10_000, description="First-stage depth, of each search.")

    mode: Literal["hybrid", "dense", "lexical"] = Field("hybrid", description="Which searches make candidates.")
    fusion: Literal["convex", "rrf"] = Field("convex", description="How their rankings become one.")
    normalization: Literal["min-max", "z-score", "none"] = Field(
        "z-score", description="Of each ranking's scores, before convex fusion."
    )
    dense_weight: float = Field(0.5, ge=0.0, le=1.0, description="Share of the dense score in convex fusion.")
    rank_constant: float = Field(60.0, gt=0.0, description="Of reciprocal rank fusion.")
    identifier_weight: float = Field(
        3.0,
        ge=1.0,
        le=10.0,
        description="What the whole of an identifier such as s3:GetObject counts in lexical search, where each of its "
        "parts counts 1.",
    )
    feedback_chunks: int = Field(3, ge=1, le=100, description="First results that the query vector is moved towards.")
    feedback_weight: float = Field(0.3, ge=0.0, le=1.0, description="How far; 0 switches feedback off.")

    late_weight: float = Field(
        0.35,
        ge=0.0,
        le=0.9,
        description="Share of late interaction (the encoder's token vectors, kept with the chunks) against the fused "
        "score; 0 switches it off.",
    )
    title_weight: float = Field(
        0.0, ge=0.0, le=0.1, description="Share of how much of the query stands in title and headings; 0 is off."
    )
    late_candidates: int = Field(
        50, ge=1, le=1000, description="First results of fusion that late interaction and titles are compared for."
    )
    neighbour_weight: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="How much a chunk gains from the score of the one before or after it; 0 is off.",
    )

    reranker: Literal["none", "cross-encoder", "onnx", "bedrock", "http", "listwise"] = Field(
        "none",
        description="A second model that scores the first results again: a cross-encoder by sentence-transformers or "
        "as a prepared ONNX model, Amazon Bedrock Rerank, a server with /rerank (TEI, vLLM, Cohere, Jina), or the chat "
        "model of [generation] that puts the chunks in order.",
    )
    rerank_model: str = Field("", description="The reranker's model: a name, a folder, or the id at a service.")
    rerank_url: str = Field(
        "",
        description="Of a reranking service: what stands before /rerank, e.g. 'http://localhost:8080' or "
        "'https://api.cohere.com/v2'; for bedrock, of a VPC endpoint.",
    )
    rerank_api: Literal["auto", "tei", "cohere"] = Field(
        "auto",
        description="What the server speaks: as Text Embeddings Inference does, or as Cohere does (Jina, vLLM, "
        "llama.cpp, Infinity); 'auto' is cohere where rerank_model is set.",
    )
    rerank_api_key: SecretStr = Field(SecretStr(""), description="Bearer token for the reranker 'http'.")
    rerank_region: str = Field("", description="AWS region for the reranker 'bedrock'.")
    rerank_timeout: float = Field(
        10.0, gt=0.0, le=600.0, description="Seconds to wait for a reranking service, second tries included."
    )
    rerank_candidates: int = Field(50, ge=1, le=1000, description="First results of fusion that are scored again.")
    rerank_weight: float = Field(
        1.0, ge=0.0, le=1.0, description="Share of the reranker's score against the fused one; 1 is the reranker alone."
    )
    rerank_required: bool = Field(
        True,
        description="Whether a query fails when the reranker does; else it is answered in the order of fusion, and the "
        "result says so.",
    )

    deduplicate: bool = Field(True, description="Whether of near-identical chunks only the best one is returned.")
    per_document: int = Field(0, ge=0, le=1000, description="Most chunks of one document in a result; 0 is any number.")
    diversity: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="How much a chunk loses for being like those before it (maximal marginal relevance); 0 is off.",
    )

"""What goes over the wire: requests, responses, their examples. Only the edge knows pydantic; records stay inside."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.explanations import ExplanationResponse, explanation
from generation.serialize import MAX_TURN_CHARACTERS, MAX_TURNS, plan_to_dict, scored_chunk_to_dict
from retrieval.records import CollectionInfo, Document, DocumentInfo, Edition, Retrieval, Turn
from retrieval.retriever import MAX_K

MAX_PAGE = 1_000

Scalar = str | int | float | bool
K = Annotated[int, Field(ge=1, le=MAX_K, description="How many chunks, at most.", examples=[5])]
FilterJson = Annotated[
    dict[str, Any] | None,
    Field(
        description="Which documents to look in, before anything is ranked: `{field: value}`, or with operators "
        "`$eq $ne $gt $gte $lt $lte $in $nin $exists $and $or $not`.",
        examples=[{"media_type": "application/pdf"}, {"year": {"$gte": 2024}}],
    ),
]


class _Request(BaseModel):
    """A request body: unknown members and other types are refused, so that no slip is silently put right."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class TurnRequest(_Request):
    """Something said earlier in the conversation."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=MAX_TURN_CHARACTERS)


History = Annotated[
    list[TurnRequest],
    Field(
        max_length=MAX_TURNS,
        description="What was said before, oldest first: what leans on it is made complete.",
        examples=[[{"role": "user", "content": "How long is lost property kept?"}]],
    ),
]


class SearchRequest(_Request):
    """A search: which chunks are about this?"""

    query: str = Field(min_length=1, description="What to look for, in plain language.", examples=["lost property"])
    k: K = 10
    filter: FilterJson = None
    history: History = []
    explain: bool = Field(default=False, description="Say of each candidate why it is where it is.")


class AnswerRequest(_Request):
    """A question."""

    question: str = Field(min_length=1, examples=["How long is lost property kept?"])
    k: K | None = Field(default=None, description="Chunks to draw on; the server's setting when left out.")
    filter: FilterJson = None
    history: History = []
    stream: bool = Field(default=False, description="Send sentences as they are verified, as `text/event-stream`.")


class DocumentInfoResponse(_Response):
    """A document without its text."""

    doc_id: str
    version: str = Field(description="Of the text: equal texts have equal versions.", examples=["9f86d081884c7d65"])
    source_uri: str
    title: str
    media_type: str = Field(examples=["text/markdown"])
    characters: int
    page_count: int | None = Field(description="null when the format has no pages")
    metadata: Mapping[str, Scalar | list[Scalar]]


class SearchResult(_Response):
    """One chunk: where it stands, and the scores that brought it here."""

    chunk_id: str
    doc_id: str
    version: str
    source_uri: str
    title: str
    start: int = Field(description="Offset of its first character in the document's text (Unicode code points).")
    end: int = Field(description="Offset after its last character.")
    page: int | None
    headings: list[str]
    text: str = Field(description="Exactly the document's text from `start` to `end`.")
    score: float = Field(description="Higher is better; comparable within one response only.")
    stages: Mapping[str, float] = Field(description="Scores by stage.")
    metadata: Mapping[str, Scalar | list[Scalar]]


class PlanResponse(_Response):
    """What was searched for in place of what was asked."""

    query: str = Field(description="Complete in itself.")
    parts: list[str] = Field(description="The questions that it is made of when there are several.")
    planner: str = Field(description="'rules', or a chat model's name.")


class SearchResponse(_Response):
    """Chunks, best first."""

    collection: str
    query: str
    results: list[SearchResult]
    timings: Mapping[str, float] = Field(description="Seconds by stage.")
    plan: PlanResponse | None = Field(description="null when the query was searched for as it is")
    notes: list[str] = Field(description="What did not go as configured, in words.")
    explanation: ExplanationResponse | None = Field(
        default=None, description="When it was asked for; else there is none.", exclude_if=lambda value: value is None
    )


class EmbedderResponse(_Response):
    """The model that an edition was embedded with."""

    name: str
    sha256: str
    dimension: int
    window: int


class ChunkingResponse(_Response):
    """How the documents of an edition were cut; sizes are in tokens of its model."""

    chunk_tokens: int
    context_tokens: int = Field(description="Most tokens of title and headings, embedded before a chunk's text.")
    overlap_tokens: int
    algorithm: int


class EditionResponse(_Response):
    """One model and one chunking: the edition that searches and answers go through now."""

    number: int
    embedder: EmbedderResponse
    chunking: ChunkingResponse
    created_at: str = Field(description="ISO 8601, UTC.")


class CollectionResponse(_Response):
    """What a collection holds now."""

    name: str
    documents: int
    chunks: int
    sequence: int = Field(description="Grows by one with each commit: equal sequence, equal content.")
    language: str
    fields: list[str] = Field(description="Metadata fields that filters can name.")
    edition: EditionResponse


class CollectionsResponse(_Response):
    """The names of all collections, sorted."""

    collections: list[str]


class DocumentsResponse(_Response):
    """A page of a collection's documents, by doc_id."""

    collection: str
    documents: list[DocumentInfoResponse]
    next: str | None = Field(description="Pass it as `after` to get the next page; null on the last one.")


class DocumentResponse(DocumentInfoResponse):
    """A document with its text, or a stretch of it."""

    start: int = Field(description="Offset of `text` in the document (Unicode code points).")
    end: int
    page: int | None = Field(description="Page of the character at `start`.")
    text: str


class CitationResponse(_Response):
    """A footnote. `quote` stands word for word at `start`..`end` in that version of that document; it was checked."""

    doc_id: str
    source_uri: str
    title: str
    version: str
    chunk_id: str
    start: int
    end: int
    page: int | None
    quote: str
    support: float = Field(ge=0, le=1)


class SentenceResponse(_Response):
    """A sentence of an answer and its footnotes."""

    text: str
    citations: list[CitationResponse]


class UsageResponse(_Response):
    """Tokens that a chat model took; zeros for the extractive one."""

    input_tokens: int
    output_tokens: int


class AnswerResponse(_Response):
    """An answer. A declined one has a single sentence that says why, and no citations."""

    question: str
    collection: str
    status: Literal["answered", "declined"]
    text: str = Field(description="The sentences, joined.")
    sentences: list[SentenceResponse]
    evidence: float = Field(description="0..1: how likely the documents answer this; below a threshold we decline.")
    model: str
    dropped_citations: int = Field(description="Citations that the model gave and that did not stand up to checking.")
    usage: UsageResponse
    timings: Mapping[str, float]
    plan: PlanResponse | None = Field(description="null when the question was searched for as it is")
    notes: list[str] = Field(description="What did not go as configured, in words.")


class HealthResponse(_Response):
    """Alive, or ready to answer."""

    status: Literal["ok", "ready"]


class ValidationErrorItem(_Response):
    """One thing that is wrong with a request."""

    at: str = Field(examples=["body.k"])
    message: str


class ProblemResponse(_Response):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:footnote:problem:collection-not-found"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="Path of the request.")
    request_id: str = Field(description="Also in the header `x-request-id` and in the server's log.")
    errors: list[ValidationErrorItem] | None = Field(
        default=None, description="For a request that does not fit the schema."
    )


def document_info(info: DocumentInfo) -> DocumentInfoResponse:
    """The record as it is sent."""
    return DocumentInfoResponse(
        doc_id=info.doc_id,
        version=info.version,
        source_uri=info.source_uri,
        title=info.title,
        media_type=info.media_type,
        characters=info.characters,
        page_count=info.page_count,
        metadata={name: list(value) if isinstance(value, tuple) else value for name, value in info.metadata.items()},
    )


def document(found: Document, *, start: int, end: int) -> DocumentResponse:
    """The document with its text from `start` to `end`."""
    return DocumentResponse(
        **dict(document_info(found.info)),
        start=start,
        end=end,
        page=found.page_at(start),
        text=found.text[start:end],
    )


def collection(info: CollectionInfo) -> CollectionResponse:
    """The record as it is sent."""
    return CollectionResponse(
        name=info.name,
        documents=info.documents,
        chunks=info.chunks,
        sequence=info.sequence,
        language=info.language,
        fields=list(info.fields),
        edition=edition(info.edition),
    )


def edition(found: Edition) -> EditionResponse:
    """The record as it is sent."""
    embedder = found.embedder
    return EditionResponse(
        number=found.number,
        embedder=EmbedderResponse(
            name=embedder.name, sha256=embedder.sha256, dimension=embedder.dimension, window=embedder.window
        ),
        chunking=ChunkingResponse(**asdict(found.chunking)),
        created_at=found.created_at,
    )


def search(name: str, retrieval: Retrieval) -> SearchResponse:
    """The outcome of a search as it is sent."""
    plan = plan_to_dict(retrieval.plan, retrieval.query)
    return SearchResponse(
        collection=name,
        query=retrieval.query,
        results=[SearchResult.model_validate(scored_chunk_to_dict(scored)) for scored in retrieval.chunks],
        timings=retrieval.timings,
        plan=None if plan is None else PlanResponse.model_validate(plan),
        notes=list(retrieval.notes),
        explanation=explanation(retrieval.explanation),
    )


def turns(history: Sequence[TurnRequest]) -> tuple[Turn, ...]:
    """The conversation as the records have it."""
    return tuple(Turn(turn.role, turn.content) for turn in history)

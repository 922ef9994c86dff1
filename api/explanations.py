"""Why a ranking is as it is, in the shape that it is sent."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from generation.serialize import explanation_to_dict
from retrieval.explanation import Explanation

MAX_EXPLAINED = 300
"""Candidates that one response explains."""


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class StageScoreResponse(_Response):
    """What one stage of the ranking made of one chunk."""

    stage: str = Field(examples=["lexical"])
    rank: int = Field(ge=1, description="Among all chunks that the stage ranked.")
    score: float = Field(description="On the stage's own scale; higher is better.")


class CandidateResponse(_Response):
    """The way of one chunk through the stages."""

    chunk_id: str
    doc_id: str
    rank: int | None = Field(description="Among the results, from 1; null when it is none.")
    score: float | None = Field(description="In the final ranking; null when a stage before has removed it.")
    stages: list[StageScoreResponse] = Field(description="Those that it came through, in their order.")
    terms: Mapping[str, float] = Field(
        description="What each term of the query adds to its BM25 score, most first; their sum is the lexical score."
    )
    removed_by: str = Field(
        description="What took it out: `k`, `per-document`, `duplicates`, `diversity`, `feedback`; empty for a result."
    )
    reason: str = Field(description="The same in words.")


class QueryTermResponse(_Response):
    """A term of the query, as lexical search counts it."""

    term: str = Field(description="As analysed, e.g. `inspect` for `inspections`.")
    weight: float = Field(
        description="How often it is in the query; the whole of an identifier counts `retrieval.identifier_weight` "
        "times."
    )
    chunks: int = Field(description="How many chunks of the collection hold it.")
    idf: float = Field(description="How rare it is, as BM25 counts it.")


class ExplanationResponse(_Response):
    """Why a ranking is as it is."""

    stages: list[str] = Field(description="Those that ran, in order.")
    terms: list[QueryTermResponse]
    total: int = Field(description="Candidates, those that are not listed included.")
    left_out: Mapping[str, int] = Field(
        description="How many of them are no results, by what took them out (`removed_by`)."
    )
    candidates: list[CandidateResponse] = Field(
        max_length=MAX_EXPLAINED, description="Results first, then the others as the final ranking has them."
    )


def explanation(found: Explanation | None) -> ExplanationResponse | None:
    """The explanation as it is sent, where one was asked for: with the first `MAX_EXPLAINED` candidates."""
    if found is None:
        return None
    return ExplanationResponse.model_validate(explanation_to_dict(found, limit=MAX_EXPLAINED))

"""Search: chunks and their scores, no answer."""

from fastapi import APIRouter

from api import schemas
from api.openapi import problems
from api.routes.access import CollectionHere
from retrieval import filters
from retrieval.errors import (
    CollectionNotFound,
    EmbedderMismatch,
    InvalidFilter,
    InvalidQuery,
    StoreUnavailable,
    UnknownField,
)

router = APIRouter(prefix="/v1/collections/{collection}", tags=["search"])


@router.post(
    "/search",
    summary="Search a collection",
    responses=problems(
        CollectionNotFound, EmbedderMismatch, InvalidFilter, InvalidQuery, StoreUnavailable, UnknownField
    ),
)
def search(opened: CollectionHere, request: schemas.SearchRequest) -> schemas.SearchResponse:
    """The chunks that fit the query best: dense and lexical search, fused. The filter applies before the ranking.

    With `explain`, every candidate's way through the stages of the ranking is told.
    """
    node = None if request.filter is None else filters.parse(request.filter)
    said = schemas.turns(request.history)
    found = opened.retriever.retrieve(request.query, k=request.k, filter=node, history=said, explain=request.explain)
    return schemas.search(opened.name, found)

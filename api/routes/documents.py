"""The documents of a collection, and the text that a footnote points into."""

import json
from typing import Annotated

from fastapi import APIRouter, Query

from api import schemas
from api.openapi import problems
from api.routes.access import CollectionHere
from retrieval import filters
from retrieval.errors import CollectionNotFound, DocumentNotFound, InvalidFilter, InvalidRequest, UnknownField

router = APIRouter(prefix="/v1/collections/{collection}/documents", tags=["documents"])


@router.get("", summary="List documents", responses=problems(CollectionNotFound, InvalidFilter, UnknownField))
def list_documents(
    opened: CollectionHere,
    after: Annotated[str, Query(description="The `next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=schemas.MAX_PAGE)] = 100,
    filter: Annotated[
        str | None, Query(description="A filter as JSON.", examples=['{"media_type": "application/pdf"}'])
    ] = None,
) -> schemas.DocumentsResponse:
    """By doc_id, one page at a time. Pages stay consistent while documents come and go: none is shown twice."""
    with opened.store.snapshot() as snapshot:
        node = None
        if filter is not None:
            node = filters.parse(_json(filter))
            info = snapshot.info
            if info.documents:  # as for a search: an empty collection has no fields to get wrong
                filters.check_fields(node, info.fields)
        # One more than asked for tells whether there is a next page.
        found = snapshot.documents(filter=node, after=after, limit=limit + 1)
    page = found[:limit]
    return schemas.DocumentsResponse(
        collection=opened.name,
        documents=[schemas.document_info(info) for info in page],
        next=page[-1].doc_id if len(found) > limit else None,
    )


@router.get(
    "/{doc_id}",
    summary="Read a document, or the stretch that a footnote cites",
    responses=problems(CollectionNotFound, DocumentNotFound, InvalidRequest),
)
def get_document(
    opened: CollectionHere,
    doc_id: str,
    start: Annotated[int, Query(ge=0, description="First character wanted.")] = 0,
    end: Annotated[int | None, Query(ge=0, description="Character after the last; past the end means the end.")] = None,
    version: Annotated[str | None, Query(description="Refuse (404) if the document has changed since.")] = None,
) -> schemas.DocumentResponse:
    """Its text from `start` to `end`, in Unicode code points. Give a citation's `version` too: offsets belong to it."""
    with opened.store.snapshot() as snapshot:
        found = snapshot.document(doc_id)
    if version is not None and version != found.version:
        raise DocumentNotFound(
            f"document {doc_id!r} has no version {version!r} any more; its version is now {found.version!r}: ask again"
        )
    last = len(found.text) if end is None else min(end, len(found.text))
    if not start <= last:
        raise InvalidRequest(
            f"start {start} lies behind the end {last}; the document has {len(found.text)} characters, and start must "
            "not be greater than end"
        )
    return schemas.document(found, start=start, end=last)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidFilter(f'filter: not JSON ({exc}); expected an object such as {{"year": 2024}}') from exc

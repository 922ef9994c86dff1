"""Which collections there are, and what is in one."""

from fastapi import APIRouter

from api import schemas
from api.openapi import problems
from api.routes.access import CollectionHere, ServicesHere
from retrieval.errors import CollectionNotFound

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", summary="List the collections", responses=problems())
def list_collections(services: ServicesHere) -> schemas.CollectionsResponse:
    """Names only, sorted. Collections are made with `footnote ingest`."""
    return schemas.CollectionsResponse(collections=services.names())


@router.get("/{collection}", summary="Describe a collection", responses=problems(CollectionNotFound))
def get_collection(opened: CollectionHere) -> schemas.CollectionResponse:
    """How much it holds now, which fields filters can name, and which edition (model and chunking) is live."""
    with opened.store.snapshot() as snapshot:
        return schemas.collection(snapshot.info)

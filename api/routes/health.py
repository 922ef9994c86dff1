"""Is the process alive, and can it answer? For load balancers and container health checks; no key needed."""

from fastapi import APIRouter

from api.openapi import problems
from api.routes.access import ServicesHere
from api.schemas import HealthResponse
from retrieval.errors import ModelInvalid, StoreUnavailable

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> HealthResponse:
    """Says `ok` as long as the process serves requests at all, however busy its worker threads are."""
    return HealthResponse(status="ok")


@router.get("/readyz", summary="Can it answer questions?", responses=problems(StoreUnavailable, ModelInvalid))
def readyz(services: ServicesHere) -> HealthResponse:
    """Embeds a word and lists the collections; a problem says what is missing."""
    services.check_ready()
    return HealthResponse(status="ready")

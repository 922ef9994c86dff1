"""The web page at `/`: a place to ask and to look at footnotes. Nothing of it is loaded from elsewhere."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from retrieval.errors import NotFound

_STATIC = Path(__file__).parents[1] / "static"
_FILES = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # so that a newer server is never mixed with old files
}

router = APIRouter(include_in_schema=False)


@router.get("/")
def page() -> FileResponse:
    """The page itself."""
    return FileResponse(_STATIC / "index.html", media_type="text/html; charset=utf-8", headers=_HEADERS)


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """One of the files that the page needs."""
    if name not in _FILES:
        raise NotFound(f"no file {name!r}; the page needs only: {', '.join(sorted(_FILES))}")
    return FileResponse(_STATIC / name, media_type=_FILES[name], headers=_HEADERS)

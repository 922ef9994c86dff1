"""What people call a document: its doc_id, its source's URI, its path, or as much of the path's end as is unique."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ingest.sources import uri_for
from retrieval.errors import DocumentNotFound, InvalidRequest
from retrieval.filters import Compare
from retrieval.ports import Snapshot
from retrieval.records import DocumentInfo, SourceRecord

_PAGE = 1_000
_NAMED = 5
"""Documents of one name that an error lists."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a name stands for: a document, or a source that the ledger knows and that is no document now."""

    document: DocumentInfo | None
    source: SourceRecord | None
    """The ledger's line; None for a document that came with none."""


def find(snapshot: Snapshot, name: str) -> Named:
    """What `name` stands for. Raises DocumentNotFound, and InvalidRequest when it fits several."""
    name = name.encode("utf-8", "replace").decode()  # bytes of a command line that are no text name nothing here
    if not name.strip():
        raise InvalidRequest("the document's name is empty; give a doc_id, a source's URI, a path or the end of one")
    uris = [name, uri_for(name)]
    for node in (Compare("doc_id", "$eq", name), *(Compare("source_uri", "$eq", uri) for uri in uris)):
        for document in snapshot.documents(filter=node, limit=1):
            return Named(document, _line(snapshot, document.source_uri))
    for line in snapshot.sources(uris=uris):
        return Named(None, line)
    documents = _ending(snapshot, name)
    lines = _lines(snapshot, name, without={document.source_uri for document in documents})
    return _only(name, [Named(document, _line(snapshot, document.source_uri)) for document in documents] + lines)


def documents(snapshot: Snapshot) -> Iterator[DocumentInfo]:
    """Every document, by doc_id."""
    after, page_is_full = "", True
    while page_is_full:
        page = snapshot.documents(after=after, limit=_PAGE)
        page_is_full = len(page) == _PAGE
        for info in page:
            after = info.doc_id
            yield info


class Names:
    """The documents of a collection by all their names: for many look-ups."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._ids: set[str] = set()
        self._by_uri: dict[str, str] = {}
        self._by_file: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for info in documents(snapshot):
            self._ids.add(info.doc_id)
            self._by_uri[info.source_uri] = info.doc_id
            path = _path(info.source_uri)
            self._by_file[path.rpartition("/")[2]].append((path, info.doc_id))

    def doc_ids(self, name: str) -> list[str]:
        """Of the documents that `name` can mean: the nearest sense that fits any."""
        if name in self._ids:
            return [name]
        for uri in (name, uri_for(name)):
            if uri in self._by_uri:
                return [self._by_uri[uri]]
        ending = _tail(name)
        return [doc_id for path, doc_id in self._by_file[ending.rpartition("/")[2]] if path.endswith(ending)]


def _path(uri: str) -> str:
    return "/" + unquote(urlsplit(uri).path).lstrip("/")


def _tail(name: str) -> str:
    return "/" + name.removeprefix("./").lstrip("/")


def _ending(snapshot: Snapshot, name: str) -> list[DocumentInfo]:
    ending = _tail(name)
    return [info for info in documents(snapshot) if _path(info.source_uri).endswith(ending)]


def _line(snapshot: Snapshot, uri: str) -> SourceRecord | None:
    return next(iter(snapshot.sources(uris=[uri])), None)


def _lines(snapshot: Snapshot, name: str, *, without: set[str]) -> list[Named]:
    """Sources of this doc_id or path's end that are no documents."""
    found, after, ending = [], "", _tail(name)
    while page := snapshot.sources(after=after, limit=_PAGE):
        after = page[-1].source_uri
        for line in page:
            named = line.doc_id == name or _path(line.source_uri).endswith(ending)
            if named and line.status != "ingested" and line.source_uri not in without:
                found.append(Named(None, line))
    return found


def _only(name: str, found: list[Named]) -> Named:
    if len(found) == 1:
        return found[0]
    if not found:
        raise DocumentNotFound(
            f"no document and no source {name!r} in this collection; give a doc_id, a source's URI, a path or its end"
        )
    uris = [repr(known.source_uri) for one in found if (known := one.document or one.source)]
    more = f" and {len(uris) - _NAMED} more" if len(uris) > _NAMED else ""
    raise InvalidRequest(
        f"{name!r} names {len(uris)} documents: {', '.join(uris[:_NAMED])}{more}; give more of its path"
    )

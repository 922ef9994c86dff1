"""What a deletion concerns: the documents and ledger lines that are named, and all that came in them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest import ledger
from ingest.sources import doc_id_for, uri_for
from ingest.sources.identity import WITHIN
from retrieval.errors import DocumentNotFound, InvalidRequest
from retrieval.filters import In
from retrieval.ports import Snapshot
from retrieval.records import DocumentInfo, SourceRecord, chunk_id

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Erased:
    """One source to delete, with its document if it gave one: what a receipt says of it."""

    doc_id: str
    source_uri: str
    status: str
    """Of its ledger line; empty for a document that the ledger does not know."""
    recorded_at: str
    content_hash: str
    """SHA-256 of the source's bytes."""
    version: str = ""
    """Of the document: the first 16 hex digits of the SHA-256 of its text; empty when there was none."""
    characters: int = 0
    size: int = 0
    """Bytes of the source."""
    parent: str = ""
    chunks: tuple[tuple[int, int], ...] = ()
    """Edition and number of chunks."""

    def chunk_ids(self, edition: int) -> Iterator[str]:
        """Of the chunks that it had in an edition."""
        return (chunk_id(self.doc_id, i) for i in range(dict(self.chunks).get(edition, 0)))

    def tombstone(self) -> SourceRecord:
        """The line that stays: enough to know the source again, nothing of what it said."""
        return SourceRecord(
            source_uri=self.source_uri,
            status="deleted",
            doc_id=self.doc_id,
            content_hash=self.content_hash,
            fingerprint="",
            size=0,
            recorded_at=ledger.now(),
            parent=self.parent,
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What was named."""

    erased: tuple[Erased, ...]
    """By source URI."""
    deleted: tuple[SourceRecord, ...] = ()
    """Tombstones among it: deleted earlier."""


def select(snapshot: Snapshot, names: Sequence[str], *, under: Sequence[str] = ()) -> Selection:
    """The sources that `names` name, those at and below `under`, and what came in any of them, attachments and members.

    A name is a document's id, its source's URI, or the path of a file, which may be gone; `under` are URIs or paths of
    folders. Raises DocumentNotFound for a name or folder without any source, InvalidRequest for an empty one.
    """
    if not all([*names, *under]):
        raise InvalidRequest("an empty name stands for nothing to delete; is a variable of your script empty?")
    found = _Found(snapshot)
    for name in names:
        _find(name, found)
    for place in under:
        _find_under(place, found)
    found.add_children()
    return found.selection()


def present(snapshot: Snapshot, erased: Sequence[Erased]) -> list[Erased]:
    """What there is now of the same sources, and of what came in them."""
    found = _Found(snapshot)
    found.add_lines(_lines(snapshot, [one.source_uri for one in erased]))
    found.add_documents([one.doc_id for one in erased])
    found.add_children()
    return list(found.selection().erased)


class _Found:
    """Ledger lines and documents, as they are found."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.collection = snapshot.info.name
        self._lines: dict[str, SourceRecord] = {}
        self._deleted: dict[str, SourceRecord] = {}
        self._documents: dict[str, DocumentInfo] = {}

    def add_lines(self, lines: Sequence[SourceRecord]) -> None:
        for line in lines:
            (self._deleted if line.status == "deleted" else self._lines)[line.source_uri] = line
        self.add_documents([line.doc_id for line in lines])

    def add_documents(self, doc_ids: Sequence[str]) -> bool:
        """Those of `doc_ids` that there are; whether there is any."""
        documents = _documents(self.snapshot, doc_ids)
        self._documents.update({info.doc_id: info for info in documents})
        return bool(documents)

    def add_children(self) -> None:
        """What came in the sources, at any depth."""
        own = {info.source_uri for info in self._documents.values()}
        self.add_lines(
            [line for line in _lines(self.snapshot, sorted(own - self._lines.keys())) if line.status != "deleted"]
        )
        for uri in sorted({*self._lines, *self._deleted, *own}):
            within = {uri}
            children = []
            # Ascending, so that what holds something comes before what it holds.
            for line in _pages(self.snapshot, uri + WITHIN):
                if line.parent in within:
                    within.add(line.source_uri)
                    children.append(line)
            self.add_lines([line for line in children if line.status != "deleted"])

    def selection(self) -> Selection:
        by_doc_id = {line.doc_id: line for line in self._lines.values()}
        erased = [_erased(line, self._documents.get(line.doc_id)) for line in self._lines.values()]
        erased += [_unknown(info) for doc_id, info in self._documents.items() if doc_id not in by_doc_id]
        deleted = [line for uri, line in self._deleted.items() if line.doc_id not in self._documents]
        return Selection(
            tuple(sorted(erased, key=lambda one: (one.source_uri, one.doc_id))),
            tuple(sorted(deleted, key=lambda line: line.source_uri)),
        )


def _find(name: str, found: _Found) -> None:
    text = os.fsencode(name).decode("utf-8", errors="replace")  # a path may hold any bytes, ids and URIs do not
    uris = [text, uri_for(name)]
    if lines := _lines(found.snapshot, uris):
        found.add_lines(lines[:1])
        return
    for doc_id in (text, *map(doc_id_for, uris)):
        if found.add_documents([doc_id]):
            return
    if any(_below(uri, found.snapshot) for uri in uris):
        raise DocumentNotFound(
            f"{name!r} is a folder of collection {found.collection!r}; say --under {name!r} to delete it all"
        )
    raise DocumentNotFound(
        f"no document {name!r} in collection {found.collection!r}; give its id, URI or path "
        "(the REST interface lists them under /v1/collections/NAME/documents)"
    )


def _find_under(place: str, found: _Found) -> None:
    text = os.fsencode(place).decode("utf-8", errors="replace")
    root = (text if "://" in text else uri_for(place)).rstrip("/")
    lines = [*_lines(found.snapshot, [root]), *_pages(found.snapshot, root + "/")]
    found.add_lines(lines)
    # Those that the ledger does not know.
    infos = [info for info in listing(found.snapshot) if f"{info.source_uri}/".startswith(root + "/")]
    found.add_documents([info.doc_id for info in infos])
    if not lines and not infos:
        raise DocumentNotFound(
            f"nothing at or below {place!r} in collection {found.collection!r}; give a folder's path or URI"
        )


def _erased(line: SourceRecord, info: DocumentInfo | None) -> Erased:
    return Erased(
        doc_id=line.doc_id,
        source_uri=line.source_uri,
        status=line.status,
        recorded_at=line.recorded_at,
        content_hash=line.content_hash,
        version=info.version if info else "",
        characters=info.characters if info else 0,
        size=line.size,
        parent=line.parent,
    )


def _unknown(info: DocumentInfo) -> Erased:
    """Of a document without a line."""
    return Erased(info.doc_id, info.source_uri, "", "", "", info.version, info.characters)


def _lines(snapshot: Snapshot, uris: Sequence[str]) -> list[SourceRecord]:
    return [line for i in range(0, len(uris), _PAGE) for line in snapshot.sources(uris=uris[i : i + _PAGE])]


def _documents(snapshot: Snapshot, doc_ids: Sequence[str]) -> list[DocumentInfo]:
    found: list[DocumentInfo] = []
    for i in range(0, len(doc_ids), _PAGE):
        batch = tuple(doc_ids[i : i + _PAGE])
        found += snapshot.documents(filter=In("doc_id", batch), limit=len(batch))
    return found


def _below(uri: str, snapshot: Snapshot) -> bool:
    return bool(snapshot.sources(prefix=uri.rstrip("/") + "/", limit=1))


def _pages(snapshot: Snapshot, prefix: str) -> Iterator[SourceRecord]:
    after, page_is_full = "", True
    while page_is_full:
        page = snapshot.sources(prefix=prefix, after=after, limit=_PAGE)
        page_is_full = len(page) == _PAGE
        after = page[-1].source_uri if page else ""
        yield from page


def listing(snapshot: Snapshot) -> Iterator[DocumentInfo]:
    """Every document, by doc_id ascending."""
    after, page_is_full = "", True
    while page_is_full:
        page = snapshot.documents(after=after, limit=_PAGE)
        page_is_full = len(page) == _PAGE
        after = page[-1].doc_id if page else ""
        yield from page

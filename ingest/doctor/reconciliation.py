"""Do the documents of a collection, their chunks and the ledger fit each other? Read through the port, page by page.

What lies inside a store is its keeper's concern; here is what all of them hold in common, at one commit.
"""

from collections.abc import Callable, Iterator, Sequence, Set

from retrieval.ports import Finding, Replacement, Snapshot
from retrieval.records import DocumentInfo, SourceRecord, chunk_id, text_version

_PAGE = 200
"""Documents read at a time, with their texts and chunks."""
_PAGE_CHARACTERS = 8 * 2**20
"""Of their texts together, but for a longer document, which is read by itself: some 100 MB with all vectors."""
_LINES = 2_000

Faulty = Set[tuple[str, int | None]]
"""Documents, each with an edition, that a keeper has found fault with: they are not looked into."""


def _ignore(documents: int) -> None:
    """For callers that do not watch."""


def reconcile(
    snapshot: Snapshot, *, faulty: Faulty = frozenset(), on_page: Callable[[int], None] = _ignore
) -> Iterator[Finding]:
    """What does not fit, seen through the live edition.

    `on_page` hears how many documents were looked at. Holds the ids and URIs of all documents, and a page of all else.
    """
    live = snapshot.info.edition.number
    doc_ids: set[str] = set()
    uris: dict[str, str] = {}
    unindexed = _Ascending(_documents(snapshot, unindexed=True))
    for page in _pages(_documents(snapshot)):
        contents = _contents(snapshot, page, live, faulty)
        lines = {line.source_uri: line for line in snapshot.sources(uris=[info.source_uri for info in page])}
        for info in page:
            doc_ids.add(info.doc_id)
            first, line = uris.setdefault(info.source_uri, info.doc_id), lines.get(info.source_uri)
            content = contents.get(info.doc_id)
            fault = _text_fault(info, content)
            if fault:
                yield Finding("wrong-text", info.doc_id, fault)
            if unindexed.has(info.doc_id):
                detail = f"edition {live} is live and has not indexed it"
                yield Finding("unindexed", info.doc_id, detail, doc_id=info.doc_id, edition=live)
            elif content and not fault:  # there is nothing to hold chunks against when the text is not what it was
                yield from _chunks(content, live)
            if first != info.doc_id:
                detail = f"documents {first!r} and {info.doc_id!r} were both made of {info.source_uri!r}"
                yield Finding("duplicate-document", info.source_uri, detail)
            else:
                yield from _line(info, line)
        on_page(len(page))
    yield from _ledger(snapshot, doc_ids)


def reconcile_edition(snapshot: Snapshot, *, faulty: Faulty = frozenset()) -> Iterator[Finding]:
    """What does not fit in an edition that is not live: the chunks of what it has indexed."""
    edition = snapshot.info.edition.number
    unindexed = _Ascending(_documents(snapshot, unindexed=True))
    for page in _pages(_documents(snapshot)):
        indexed = [info for info in page if not unindexed.has(info.doc_id)]
        contents = _contents(snapshot, indexed, edition, faulty)
        for info in indexed:
            content = contents.get(info.doc_id)
            if content and not _text_fault(info, content):
                yield from _chunks(content, edition)


class _Ascending:
    """Asked for ascending ids, says which of them are among `infos`."""

    def __init__(self, infos: Iterator[DocumentInfo]) -> None:
        self._infos = infos
        self._next = next(infos, None)

    def has(self, doc_id: str) -> bool:
        while self._next and self._next.doc_id < doc_id:
            self._next = next(self._infos, None)
        return self._next is not None and self._next.doc_id == doc_id


def _documents(snapshot: Snapshot, *, unindexed: bool = False) -> Iterator[DocumentInfo]:
    after = ""
    while page := snapshot.documents(after=after, limit=_PAGE, unindexed=unindexed):
        yield from page
        after = page[-1].doc_id


def _pages(infos: Iterator[DocumentInfo]) -> Iterator[list[DocumentInfo]]:
    page: list[DocumentInfo] = []
    characters = 0
    for info in infos:
        characters += info.characters
        if page and (len(page) == _PAGE or characters > _PAGE_CHARACTERS):
            yield page
            page, characters = [], info.characters
        page.append(info)
    if page:
        yield page


def _contents(snapshot: Snapshot, page: Sequence[DocumentInfo], edition: int, faulty: Faulty) -> dict[str, Replacement]:
    """What can be read of a page, by doc_id."""
    wanted = [info.doc_id for info in page if (info.doc_id, edition) not in faulty]
    return {content.document.doc_id: content for content in snapshot.contents(wanted)}


def _text_fault(info: DocumentInfo, content: Replacement | None) -> str:
    """How a text differs from what was ingested, in words; empty when it does not, or was not read."""
    if content is None:
        return ""
    version, characters = text_version(content.document.text), len(content.document.text)
    if version != info.version:
        return f"its text hashes to {version}, its version is {info.version}: the text is not what was ingested"
    if characters != info.characters:
        return f"its text has {characters:,} characters, {info.characters:,} are said"
    return ""


def _chunks(content: Replacement, edition: int) -> Iterator[Finding]:
    """Of a document the first thing that is wrong with its chunks: with one, all of them are made again."""
    document, reached = content.document, 0
    for i, chunk in enumerate(content.chunks):
        if (chunk.ordinal, chunk.chunk_id) != (i, chunk_id(document.doc_id, i)):
            kind, detail = "missing-chunks", f"{chunk.chunk_id!r} stands where chunk {i} should"
        elif document.text[chunk.start : chunk.end] != chunk.text:
            kind, detail = "wrong-chunk", f"chunk {i} is not the document's text from {chunk.start} to {chunk.end}"
        elif document.text[reached : chunk.start].strip():
            kind, detail = "missing-chunks", f"what stands from {reached} to {chunk.start} is in no chunk"
        else:
            reached = chunk.end
            continue
        yield Finding(kind, document.doc_id, detail, doc_id=document.doc_id, edition=edition)
        return
    if document.text[reached:].strip():  # see `chunking.split`
        detail = f"what stands from {reached} on is in no chunk"
        yield Finding("missing-chunks", document.doc_id, detail, doc_id=document.doc_id, edition=edition)


def _line(info: DocumentInfo, line: SourceRecord | None) -> Iterator[Finding]:
    """What the ledger says of a document."""
    if line is None:
        yield Finding("missing-line", info.source_uri, f"the ledger has no line of document {info.doc_id!r}")
    elif line.status == "deleted":
        yield Finding("undead-document", info.source_uri, f"the ledger says that {info.doc_id!r} was deleted")
    elif line.status == "ingested" and line.version:  # a failure leaves what a former version gave
        for what, said, there in (
            ("document", line.doc_id, info.doc_id),
            ("version", line.version, info.version),
            ("media type", line.media_type, info.media_type),
        ):
            if said != there:
                detail = f"the ledger says {what} {said!r}, the collection has {there!r}"
                yield Finding("wrong-line", info.source_uri, detail)
                return


def _ledger(snapshot: Snapshot, doc_ids: Set[str]) -> Iterator[Finding]:
    """Lines of what is not there."""
    after = ""
    while page := snapshot.sources(after=after, limit=_LINES):
        after = page[-1].source_uri
        parents = {line.parent for line in page if line.parent and line.status != "deleted"}
        there = {line.source_uri for line in snapshot.sources(uris=sorted(parents))} if parents else set()
        for line in page:
            if line.status == "ingested" and line.version and line.doc_id not in doc_ids:
                detail = f"the ledger says that it gave document {line.doc_id!r}, which is not there"
                yield Finding("missing-document", line.source_uri, detail)
            if line.parent in parents and line.parent not in there and line.status != "deleted":
                detail = f"it came in {line.parent!r}, of which the ledger has no line"
                yield Finding("missing-parent", line.source_uri, detail)

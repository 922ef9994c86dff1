"""Mends what `reconciliation` finds: from a document's text what is made of it, and the ledger from the documents."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ingest import ledger
from ingest.indexing import Indexer
from ingest.preparation import line_of
from ingest.sources import doc_id_for
from retrieval.errors import EditionChanged, EditionNotFound, EmbedderError, EmbedderMismatch
from retrieval.filters import In
from retrieval.ports import Embedders, Finding, Replacement, Snapshot, VectorStore
from retrieval.records import SourceRecord

_BATCH = 16
"""Documents embedded and committed together."""


def again_from_text(store: VectorStore, embedders: Embedders, findings: Sequence[Finding]) -> None:
    """Cut and embed the documents that findings name, for the editions that they name, from their stored texts.

    Where the edition's model is not to be had, or the text is not what was ingested, all stays as it is.
    """
    with store.snapshot() as snapshot:
        live, numbers = snapshot.info.live, [edition.number for edition in snapshot.info.editions]
    faulty = {edition: {one.doc_id for one in findings if one.doc_id and one.edition == edition} for edition in numbers}
    for edition in sorted(numbers, key=lambda number: number != live):  # the live one takes a document out of others
        doc_ids = sorted(faulty[edition])
        if not doc_ids:
            continue
        try:
            with store.snapshot(edition=edition) as snapshot:
                described = snapshot.info.edition
            again = _Again(store, Indexer(described, embedders), live, faulty)
            for first in range(0, len(doc_ids), _BATCH):
                again.make(doc_ids[first : first + _BATCH])
        except (EmbedderMismatch, EmbedderError, EditionNotFound, EditionChanged):
            continue  # it will be found again


def settle(store: VectorStore, findings: Sequence[Finding]) -> list[str]:
    """Mend the ledger, and documents that it does not want; returns the URIs of sources to be ingested again."""
    to_ingest = []
    for finding in findings:
        if finding.kind in KINDS:
            with store.snapshot() as snapshot:
                gone, lines = KINDS[finding.kind](finding, snapshot)
            if gone:
                store.delete(gone, leave=lines)
            elif lines:
                store.record(lines)
            to_ingest += [line.source_uri for line in lines if line.reason == "damaged"]
    return to_ingest


class _Again:
    """Makes chunks and vectors of documents again, in one edition."""

    def __init__(self, store: VectorStore, indexer: Indexer, live: int, faulty: dict[int, set[str]]) -> None:
        self._store = store
        self._indexer = indexer
        self._live = live
        self._faulty = faulty

    def make(self, doc_ids: Sequence[str]) -> None:
        before = self._whole(doc_ids)
        cut = [self._indexer.split(one.document) for one in before]
        embedding = self._indexer.embed([chunk for chunks in cut for chunk in chunks])
        parts = embedding.divided([len(chunks) for chunks in cut])
        made = [
            Replacement(
                one.document, chunks, part.vectors, _recounted(one, len(chunks)), token_vectors=part.token_vectors
            )
            for one, chunks, part in zip(before, cut, parts, strict=True)
        ]
        if self._indexer.edition != self._live:
            self._store.index(made, edition=self._indexer.edition)
            return
        others = {number: self._held(number, doc_ids) for number in self._faulty if number != self._live}
        # Embedding takes a while: what an ingest has put or deleted since is better than what we have.
        now = {one.document.doc_id: (one.document, one.source) for one in self._whole(doc_ids)}
        standing = {one.document.doc_id: (one.document, one.source) for one in before}
        current = [one for one in made if now.get(one.document.doc_id) == standing[one.document.doc_id]]
        self._store.replace(current, edition=self._live)
        kept = {one.document.doc_id for one in current}
        for number, held in others.items():
            self._store.index([one for one in held if one.document.doc_id in kept], edition=number)

    def _whole(self, doc_ids: Sequence[str]) -> list[Replacement]:
        """Documents and ledger lines as they are now; no chunks. Those whose text is not what it was are left out."""
        with self._store.snapshot() as snapshot:
            infos = snapshot.documents(filter=In("doc_id", tuple(doc_ids)), limit=len(doc_ids))
            documents = [snapshot.document(info.doc_id) for info in infos]
            lines = {line.source_uri: line for line in snapshot.sources(uris=[info.source_uri for info in infos])}
        return [
            Replacement(document, [], self._indexer.embed([]).vectors, lines.get(document.source_uri))
            for document, info in zip(documents, infos, strict=True)
            if document.version == info.version
        ]

    def _held(self, edition: int, doc_ids: Sequence[str]) -> list[Replacement]:
        """What another edition has of documents and may keep."""
        sound = tuple(doc_id for doc_id in doc_ids if doc_id not in self._faulty[edition])
        try:
            with self._store.snapshot(edition=edition) as snapshot:
                lacking = snapshot.documents(filter=In("doc_id", sound), limit=len(sound) or 1, unindexed=True)
                without = {info.doc_id for info in lacking}
                return snapshot.contents([doc_id for doc_id in sound if doc_id not in without])
        except EditionNotFound:
            return []


def _recounted(one: Replacement, chunks: int) -> SourceRecord | None:
    """Its ledger line with the right number of chunks; None for one that says something else than that it is there."""
    line = one.source
    if line is None or line.status != "ingested" or line.version != one.document.version:
        return None
    return replace(line, chunks=chunks)


_Mend = Callable[[Finding, Snapshot], tuple[list[str], list[SourceRecord]]]
"""Ids of documents that go, and ledger lines that stand afterwards."""


def _no_line(finding: Finding, snapshot: Snapshot) -> tuple[list[str], list[SourceRecord]]:
    """A line that says what there is, and by its hash and parser that the source is to be looked at again."""
    lines = []
    for info in snapshot.documents(filter=In("source_uri", (finding.subject,)), limit=1):
        [content] = snapshot.contents([info.doc_id])
        line = replace(line_of(content.document), chunks=len(content.chunks), content_hash="", size=0)
        lines.append(replace(line, recorded_at=ledger.now()))
    return [], lines


def _mark(finding: Finding, snapshot: Snapshot) -> tuple[list[str], list[SourceRecord]]:
    """The source is to be read again; the document stays until then."""
    lines = snapshot.sources(uris=[finding.subject])
    return [], [_damaged(line, finding.detail, document=True) for line in lines]


def _mark_text(finding: Finding, snapshot: Snapshot) -> tuple[list[str], list[SourceRecord]]:
    infos = snapshot.documents(filter=In("doc_id", (finding.subject,)), limit=1)
    lines = snapshot.sources(uris=[info.source_uri for info in infos])
    return [], [_damaged(line, finding.detail, document=True) for line in lines if line.status != "deleted"]


def _mark_lost(finding: Finding, snapshot: Snapshot) -> tuple[list[str], list[SourceRecord]]:
    """The source is to be read again; there is no document."""
    lines = snapshot.sources(uris=[finding.subject])
    return [], [_damaged(line, finding.detail, document=False) for line in lines]


def _no_parent(finding: Finding, snapshot: Snapshot) -> tuple[list[str], list[SourceRecord]]:
    """A line of the archive or message, which the next run reads, or finds gone with all that came in it."""
    parents = {line.parent for line in snapshot.sources(uris=[finding.subject]) if line.parent}
    missing = parents - {line.source_uri for line in snapshot.sources(uris=sorted(parents))}
    lines = [SourceRecord(uri, "failed", doc_id_for(uri), "", "", 0) for uri in missing]
    return [], [_damaged(line, "its ledger line was lost", document=False) for line in lines]


def _undead(finding: Finding, snapshot: Snapshot) -> tuple[list[str], list[SourceRecord]]:
    """It goes, and the tombstone stays."""
    lines = [line for line in snapshot.sources(uris=[finding.subject]) if line.status == "deleted"]
    infos = snapshot.documents(filter=In("source_uri", (finding.subject,))) if lines else []
    return [info.doc_id for info in infos], lines


def _duplicate(finding: Finding, snapshot: Snapshot) -> tuple[list[str], list[SourceRecord]]:
    """The one that the ledger knows stays; when it knows none of them, all do."""
    infos = snapshot.documents(filter=In("source_uri", (finding.subject,)))
    lines = snapshot.sources(uris=[finding.subject])
    known = {line.doc_id for line in lines}
    if not any(info.doc_id in known for info in infos):
        return [], []
    return [info.doc_id for info in infos if info.doc_id not in known], lines


def _damaged(line: SourceRecord, detail: str, *, document: bool) -> SourceRecord:
    """The line of a source that the next run shall read again; `document` says whether it has one meanwhile."""
    kept = line if document else replace(line, version="", chunks=0, pages=0)
    error = f"{detail}; ingest it again"
    return replace(kept, status="failed", reason="damaged", error=error, recorded_at=ledger.now())


KINDS: dict[str, _Mend] = {
    "missing-line": _no_line,
    "wrong-line": _mark,
    "wrong-text": _mark_text,
    "missing-document": _mark_lost,
    "missing-parent": _no_parent,
    "undead-document": _undead,
    "duplicate-document": _duplicate,
}
"""Findings of `reconciliation` that concern the ledger, and what mends them."""

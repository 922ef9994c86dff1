"""Finds what is wrong in a collection and mends it: the store by its keeper, documents and ledger from the stored text.

Nothing is taken away that a source or a text could give again. Three ways to mend, whichever is the first that can:

    by the keeper       indexes, counts and rows that belong to nothing follow from other rows
    from the text       what a document lacks in an edition is cut and embedded again
    by the next ingest  what is lost, or not what it was: its ledger line says so, and the source is read again
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from ingest.doctor.mending import KINDS, again_from_text, settle
from ingest.doctor.reconciliation import reconcile, reconcile_edition
from retrieval.errors import EditionNotFound
from retrieval.ports import Collections, Embedders, Finding, VectorStore

_ROUNDS = 4
"""What is mended may show what was behind it: rows of a document that is gone, then its ledger line."""


@dataclass(slots=True)
class Report:
    """What one examination found, and what became of it."""

    collection: str
    documents: int = 0
    chunks: int = 0
    found: list[Finding] = field(default_factory=list)
    mended: list[Finding] = field(default_factory=list)
    remaining: list[Finding] = field(default_factory=list)
    """What was found and not mended; all of it when nothing was to be mended."""
    to_ingest: list[str] = field(default_factory=list)
    """URIs of sources whose ledger line says now that they are to be read again."""
    seconds: float = 0.0


def _ignore(documents: int) -> None:
    """For callers that do not watch."""


def examine(collections: Collections, name: str, *, on_page: Callable[[int], None] = _ignore) -> Report:
    """Compare all that collection `name` holds; changes nothing, and what others write meanwhile is no damage.

    `on_page` hears of every few documents, how many they were. Raises CollectionNotFound, StoreError.
    """
    begin = time.perf_counter()
    report = Report(name)
    with closing(collections.open(name)) as store:
        report.found = list(_findings(collections, store, name, report, on_page))
    report.remaining = list(report.found)
    report.seconds = time.perf_counter() - begin
    return report


def repair(
    collections: Collections, name: str, embedders: Embedders, *, on_page: Callable[[int], None] = _ignore
) -> Report:
    """As `examine`, and mend what was found.

    Raises WriterBusy when another process keeps the collection to itself; what was mended by then stays so.
    """
    begin = time.perf_counter()
    report = examine(collections, name, on_page=on_page)
    for _ in range(_ROUNDS):
        before = list(report.remaining)
        if not before:
            break
        with closing(collections.keeper(name)) as keeper:
            keeper.repair([finding for finding in before if finding.kind not in KINDS])
        with closing(collections.open(name, writable=True)) as store:
            again_from_text(store, embedders, before)
            report.to_ingest += settle(store, before)
        again = examine(collections, name, on_page=on_page)
        report.documents, report.chunks, report.remaining = again.documents, again.chunks, again.remaining
        known = set(report.found)
        report.found += [finding for finding in report.remaining if finding not in known]
        if set(report.remaining) == set(before):
            break
    left = set(report.remaining)
    report.mended = [finding for finding in report.found if finding not in left]
    report.to_ingest = sorted(set(report.to_ingest))
    report.seconds = time.perf_counter() - begin
    return report


def by_kind(findings: Iterable[Finding]) -> dict[str, int]:
    """How many of each kind, the most frequent first."""
    return dict(Counter(finding.kind for finding in findings).most_common())


def _findings(
    collections: Collections, store: VectorStore, name: str, report: Report, on_page: Callable[[int], None]
) -> Iterator[Finding]:
    with closing(collections.keeper(name)) as keeper:
        inside = list(keeper.check())
    yield from inside
    if any(finding.kind in _UNREADABLE for finding in inside):
        return
    faulty = {(finding.doc_id, finding.edition) for finding in inside if finding.doc_id}
    with store.snapshot() as snapshot:
        info = snapshot.info
        report.documents, report.chunks = info.documents, info.chunks
        yield from reconcile(snapshot, faulty=faulty, on_page=on_page)
    for edition in info.editions:
        if edition.number != info.live:
            try:
                with store.snapshot(edition=edition.number) as snapshot:
                    yield from reconcile_edition(snapshot, faulty=faulty)
            except EditionNotFound:
                continue  # dropped meanwhile


_UNREADABLE = {"damaged-file", "damaged-table-index", "missing-tables"}
"""As long as there is such a thing, nothing else can be said."""

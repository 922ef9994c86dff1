"""Stored text -> chunks -> vectors of another edition, beside the live one; then the switch. No source files needed.

A run is a loop: index what the edition lacks, try to switch, and when somebody has ingested meanwhile, index that too.
All of its state is in the store, so a run that was cut off at any moment is continued by the next one.

It converges when the new model embeds faster than new documents come in: each round has only those to do that came
in during the one before, the first rounds are the long ones, and the switch needs one moment in which nothing is
missing. An ingest that outruns it makes it wait until the ingest ends, never fail or lose anything.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ingest.ahead import ahead
from ingest.events import Discovered, Embedded, Finished, OnEvent, ignore
from ingest.indexing import Indexer, token_embedder
from ingest.writing import BATCH_CHUNKS
from retrieval.errors import DocumentNotFound, EditionChanged, EditionIncomplete, EditionNotFound
from retrieval.ports import Embedders, Replacement, VectorStore
from retrieval.records import Chunk, Chunking, CollectionInfo, Document, Edition, EmbedderInfo

_AHEAD = 64
"""Documents that may be read and cut while the embedder is busy with earlier ones."""
_PAGE = 256
"""Documents listed at a time."""

Outcome = Literal["current", "built", "refused", "switched"]


@dataclass(slots=True)
class Report:
    """What one run did."""

    edition: int
    """The one that was wanted."""
    former: int
    """The one that was live when the run began."""
    outcome: Outcome = "current"
    """current: it was live already; built: complete, and no switch was asked for; refused: `approve` said no."""
    continued: bool = False
    """Whether the edition was there before, from a run that was cut off or from former times."""
    rounds: int = 0
    """Passes over what was missing; more than one when somebody ingested meanwhile."""
    documents: int = 0
    """Indexed in this run."""
    chunks: int = 0
    seconds: float = 0.0


def reindex(  # noqa: PLR0913 - three say what is wanted, the others how it is done
    store: VectorStore,
    embedders: Embedders,
    *,
    embedder: EmbedderInfo,
    chunking: Chunking,
    token_code: str = "",
    force: bool = False,
    switch: bool = True,
    approve: Callable[[int], bool] | None = None,
    on_event: OnEvent = ignore,
) -> Report:
    """Bring the collection of `store`, opened for writing, to an embedder and a chunking, and make that edition live.

    With a `token_code` it keeps token vectors in that code, and else none. Nothing is done when the live edition has
    just these, unless `force`. An edition that has them and is not live is
    continued; with `force` only an unfinished one that is newer than the live one. `approve` is asked once, with the
    number of the complete edition, before the switch. Raises EmbedderMismatch before anything is done, StoreError when
    writing fails, EditionNotFound when somebody drops the edition meanwhile.
    """
    model = embedders.of(embedder)
    if token_code:
        token_embedder(model, token_code, of="the edition that is wanted")
    wanted = _Wanted(embedder, chunking, token_code)
    with store.snapshot() as snapshot:
        info = snapshot.info
    if not force and wanted.is_of(info.edition):
        return Report(info.live, former=info.live)
    number, continued = _begin(store, wanted, force=force)
    report = make_live(store, embedders, number, switch=switch, approve=approve, on_event=on_event)
    report.continued = continued
    return report


def make_live(
    store: VectorStore,
    embedders: Embedders,
    edition: int,
    *,
    switch: bool = True,
    approve: Callable[[int], bool] | None = None,
    on_event: OnEvent = ignore,
) -> Report:
    """Index in `edition` what it lacks, then switch to it; see `reindex` for the rest.

    Raises EditionNotFound; EmbedderMismatch when its model is not to be had, even if there is nothing to embed:
    queries would need it.
    """
    begin = time.perf_counter()
    with store.snapshot(edition=edition) as snapshot:
        info = snapshot.info
    report = Report(edition, former=info.live, continued=True)
    filler = _Filler(store, Indexer(info.edition, embedders), report, on_event)
    if edition != info.live:
        report.outcome = _fill_and_switch(store, filler, edition, switch=switch, approve=approve)
    report.seconds = time.perf_counter() - begin
    return report


def rollback_target(info: CollectionInfo) -> Edition:
    """The edition to go back to: of those older than the live one, the one that lacks the fewest documents.

    A live edition lacks none, so the one that was live last lacks only what came in since; of equals the newest is
    taken. Raises EditionNotFound when there is none, or when it lacks most of the documents and so was never live.
    """
    older = [one for one in info.editions if one.number < info.live]
    others = ", ".join(str(one.number) for one in info.editions if one.number != info.live)
    hint = (
        f"other editions: {others}; `footnote editions switch NUMBER` goes to any of them"
        if others
        else "there is no other one; `footnote reindex` makes one"
    )
    if not older:
        raise EditionNotFound(f"collection {info.name!r} has no edition older than the live one, {info.live}; {hint}")
    found = max(older, key=lambda one: (one.documents, one.number))
    if 2 * found.documents < info.documents:
        raise EditionNotFound(
            f"edition {found.number} of collection {info.name!r} has only {found.documents:,} of {info.documents:,} "
            f"documents, so it was hardly live before; {hint}"
        )
    return found


def drop_former(store: VectorStore, former: int, *, keep: int) -> list[int]:
    """Drop editions older than the live one and `former`, but for `keep` of them; returns the numbers dropped.

    `former` is kept first, then the newest.
    """
    with store.snapshot() as snapshot:
        info = snapshot.info
    old = [one.number for one in info.editions if one.number != info.live and one.number <= max(info.live, former)]
    old.sort(key=lambda number: (number != former, -number))
    for number in old[keep:]:
        with suppress(EditionNotFound):  # another run was faster
            store.drop_edition(number)
    return sorted(old[keep:])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What makes an edition the one that is wanted."""

    embedder: EmbedderInfo
    chunking: Chunking
    token_code: str

    def is_of(self, edition: Edition) -> bool:
        return self == _Wanted(edition.embedder, edition.chunking, edition.token_code)


def _begin(store: VectorStore, wanted: _Wanted, *, force: bool) -> tuple[int, bool]:
    """Number of the edition to work on, and whether it was there before."""

    def find() -> int | None:
        with store.snapshot() as snapshot:
            info = snapshot.info
        fitting = [
            one
            for one in info.editions
            if wanted.is_of(one)
            and one.number != info.live
            and (not force or (one.number > info.live and one.documents < info.documents))
        ]
        return max(fitting, key=lambda one: (one.documents, -one.number)).number if fitting else None

    if (known := find()) is not None:
        return known, True
    added = store.add_edition(embedder=wanted.embedder, chunking=wanted.chunking, token_code=wanted.token_code)
    # Of two runs that begin at the same moment, both come to work on the same edition, not each on its own.
    first = find()
    if first is not None and first != added:
        store.drop_edition(added)
        return first, True
    return added, False


def _fill_and_switch(
    store: VectorStore,
    filler: "_Filler",
    edition: int,
    *,
    switch: bool,
    approve: Callable[[int], bool] | None,
) -> Outcome:
    while True:
        while filler.lacking():
            filler.round()
        if not switch:
            return "built"
        if approve is not None and not filler.is_live():
            if not approve(edition):
                return "refused"
            approve = None
        try:
            store.switch(edition)
        except EditionIncomplete:
            continue  # something was ingested since: another round
        return "switched"


class _Filler:
    """Indexes in one edition what it lacks."""

    def __init__(self, store: VectorStore, indexer: Indexer, report: Report, on_event: OnEvent) -> None:
        self._store = store
        self._indexer = indexer
        self._report = report
        self._on_event = on_event

    def lacking(self) -> int:
        """How many documents are not indexed in the edition now."""
        with self._store.snapshot(edition=self._indexer.edition) as snapshot:
            return snapshot.info.documents - snapshot.info.edition.documents

    def is_live(self) -> bool:
        """Whether somebody else has switched to it."""
        with self._store.snapshot() as snapshot:
            return snapshot.info.live == self._indexer.edition

    def round(self) -> None:
        """Index what is missing as of now, batch by batch, each in one commit."""
        self._report.rounds += 1
        self._on_event(Discovered(self._report.documents + self.lacking(), size=0))
        batch: list[tuple[Document, list[Chunk]]] = []
        waiting = 0
        try:
            for document, chunks in ahead(self._cut(), size=_AHEAD):
                batch.append((document, chunks))
                waiting += len(chunks)
                if waiting >= BATCH_CHUNKS:
                    self._index(batch)
                    batch, waiting = [], 0
            if batch:
                self._index(batch)
        except EditionChanged:
            return  # another run has finished the edition and switched to it: then it lacks nothing

    def _cut(self) -> Iterator[tuple[Document, list[Chunk]]]:
        after, page_is_full = "", True
        while page_is_full:
            with self._store.snapshot(edition=self._indexer.edition) as snapshot:
                page = snapshot.documents(after=after, limit=_PAGE, unindexed=True)
            page_is_full = len(page) == _PAGE
            for info in page:
                after = info.doc_id
                try:
                    # A snapshot of its own: none is held open while the embedder works.
                    with self._store.snapshot() as snapshot:
                        document = snapshot.document(info.doc_id)
                except DocumentNotFound:
                    continue  # deleted since the page was read
                yield document, self._indexer.split(document)

    def _index(self, batch: Sequence[tuple[Document, list[Chunk]]]) -> None:
        every = [chunk for _, chunks in batch for chunk in chunks]
        embedding = self._indexer.embed(every, lambda embedded: self._on_event(Embedded(embedded)))
        parts = embedding.divided([len(chunks) for _, chunks in batch])
        replacements = [
            Replacement(document, chunks, part.vectors, token_vectors=part.token_vectors)
            for (document, chunks), part in zip(batch, parts, strict=True)
        ]
        self._report.documents += self._store.index(replacements, edition=self._indexer.edition)
        self._report.chunks += len(every)
        for document, chunks in batch:
            size = len(document.text)
            self._on_event(Finished(document.source_uri, document.title, "ingested", size, len(chunks)))

"""Copy a collection from one store to another: documents, chunks, vectors and ledger, nothing embedded again.

What is copied is what one snapshot of the live edition shows. A copy that was cut off goes on where it stopped when it
is run again, and one of a source that has grown since brings the rest: a document that is there already, with the same
checksum, is passed over. At the end both sides are read again and compared.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from retrieval.checksum import Checksum, document_digest
from retrieval.closing import closing_unless_stopped
from retrieval.errors import CollectionExists, CollectionNotFound, Conflict, EmbedderMismatch, StoreError
from retrieval.ports import Collections, Snapshot, VectorStore
from retrieval.records import CollectionInfo, DocumentInfo, SourceRecord

_BATCH_CHUNKS = 512
"""Chunks held, sent and committed together, about: a commit waits for the disk, memory has an end."""
_TOKEN_CHARACTERS = 4
"""Of English text; tells from the length of a document about how many chunks it has."""
_PAGE = 500
"""Documents listed, and ledger lines written, at a time."""
_NAMED = 5
"""How many documents an error names."""


@dataclass(frozen=True, slots=True)
class Begun:
    """How much the source holds."""

    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Advanced:
    """Some more documents were copied (they are durable), found unchanged in the target, or compared at the end."""

    step: Literal["copied", "unchanged", "compared"]
    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Completing:
    """All is copied and compared; the target completes its indexes, which may take a while."""


Event = Begun | Advanced | Completing


def _ignore(event: Event) -> None:
    """For callers that do not watch."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one copy did. The target holds what the source held: an error was raised otherwise."""

    collection: str
    documents: int
    chunks: int
    sources: int
    """Ledger lines."""
    copied_documents: int
    """In this run; the others were there."""
    copied_chunks: int
    seconds: float
    """Of reading and writing, without the comparison."""
    compare_seconds: float
    index_seconds: float
    """Of completing the target's indexes at the end."""
    checksum: str
    """SHA-256 over all that was compared, hex: equal for equal collections, in whatever stores."""
    source_changed: bool
    """The source was written to meanwhile. What was copied is how it stood at the beginning; another run brings the
    rest."""
    editions_left: int
    """Editions of the source that are not live, and are not copied."""


def copy(name: str, *, source: Collections, target: Collections, on_event: Callable[[Event], None] = _ignore) -> Report:
    """Bring collection `name` of `source` to `target`, where it is made when it is not there.

    A target that holds what the source does not hold, or recorded something later than the source did, is refused
    with Conflict before anything is written; one with another embedder, chunking or language with EmbedderMismatch or
    Conflict. Raises CollectionNotFound; StoreError when one of the stores fails (what is copied stays, run it again
    to go on) or when the comparison finds a difference.
    """
    with closing(source.open(name)) as reading, reading.snapshot() as snapshot:
        _make_if_missing(target, snapshot.info)
        with closing_unless_stopped(target.open(name, writable=True)) as writing:
            report = _Copy(reading, snapshot, writing, on_event).run()
            on_event(Completing())
            begin = time.perf_counter()
        return replace(report, index_seconds=time.perf_counter() - begin)


class _Copy:
    """One run: what is copied, where it goes to, and how much of it was."""

    def __init__(
        self, store: VectorStore, source: Snapshot, target: VectorStore, on_event: Callable[[Event], None]
    ) -> None:
        self._store = store
        self._source = source
        self._target = target
        self._on_event = on_event
        self._info = source.info
        self._lines = {line.source_uri: line for line in source.sources()}
        self._documents = self._chunks = 0

    def run(self) -> Report:
        begin = time.perf_counter()
        with self._target.snapshot() as target:
            edition, empty = target.info.edition.number, not target.info.documents
            _check_same_kind(self._info, target.info)
            _check_nothing_of_its_own(self._source, target, self._lines)
        self._on_event(Begun(self._info.documents, self._info.chunks))
        with self._saying_how_far():
            for doc_ids in _batches(self._source):
                self._copy(doc_ids, edition, empty=empty)
            self._copy_ledger()
        middle = time.perf_counter()
        checksum = self._compare()
        with self._store.snapshot() as now:
            changed = now.info.sequence != self._info.sequence
        return Report(
            collection=self._info.name,
            documents=self._info.documents,
            chunks=self._info.chunks,
            sources=len(self._lines),
            copied_documents=self._documents,
            copied_chunks=self._chunks,
            seconds=middle - begin,
            compare_seconds=time.perf_counter() - middle,
            index_seconds=0.0,
            checksum=checksum,
            source_changed=changed,
            editions_left=len(self._info.editions) - 1,
        )

    def _copy(self, doc_ids: Sequence[str], edition: int, *, empty: bool) -> None:
        contents = self._source.contents(doc_ids)
        there = {} if empty else self._digests(doc_ids)
        missing = [one for one in contents if there.get(one.document.doc_id) != document_digest(one)]
        if missing:
            self._target.replace(missing, edition=edition)
        chunks, copied = (sum(len(one.chunks) for one in some) for some in (contents, missing))
        self._documents += len(missing)
        self._chunks += copied
        self._on_event(Advanced("unchanged", len(contents) - len(missing), chunks - copied))
        self._on_event(Advanced("copied", len(missing), copied))

    def _digests(self, doc_ids: Sequence[str]) -> dict[str, bytes]:
        with self._target.snapshot() as target:
            return {one.document.doc_id: document_digest(one) for one in target.contents(doc_ids)}

    def _copy_ledger(self) -> None:
        """The lines that came with no document; last, for a line says that its source needs no ingesting."""
        with self._target.snapshot() as target:
            there = set(target.sources())
        missing = [line for line in self._lines.values() if line not in there]
        for first in range(0, len(missing), _PAGE):
            self._target.record(missing[first : first + _PAGE])

    def _compare(self) -> str:
        """Read both sides again; the checksum of what they hold. Raises StoreError naming what differs."""
        checksum, differing = Checksum(), []
        with self._target.snapshot() as target:
            for doc_ids in _batches(self._source):
                found = {one.document.doc_id: document_digest(one) for one in target.contents(doc_ids)}
                contents = self._source.contents(doc_ids)
                for one in contents:
                    digest = document_digest(one)
                    checksum.add(digest)
                    if found.get(one.document.doc_id) != digest:
                        differing.append(one.document.doc_id)
                self._on_event(Advanced("compared", len(contents), sum(len(one.chunks) for one in contents)))
            there = set(target.sources())
            for line in self._lines.values():
                checksum.add_line(line)
            differing += [line.source_uri for line in self._lines.values() if line not in there]
            _check_alike(self._info, target.info, differing)
        return checksum.hexdigest()

    @contextmanager
    def _saying_how_far(self) -> Iterator[None]:
        try:
            yield
        except (StoreError, Conflict) as exc:
            raise type(exc)(
                f"the copy of {self._info.name!r} stopped after {self._documents:,} documents, which stay "
                f"(the source has {self._info.documents:,}); copy again to go on. What stopped it: {exc}"
            ) from exc


def _make_if_missing(target: Collections, info: CollectionInfo) -> None:
    try:
        target.open(info.name).close()
    except CollectionNotFound:
        with suppress(CollectionExists):  # another process made it at the same moment
            target.create(
                info.name,
                embedder=info.embedder,
                chunking=info.edition.chunking,
                language=info.language,
                token_code=info.edition.token_code,
            )


def _check_same_kind(source: CollectionInfo, target: CollectionInfo) -> None:
    """Raise when chunks and vectors of one are of no use in the other."""
    if source.embedder != target.embedder:
        raise EmbedderMismatch(
            f"collection {source.name!r} was embedded with {source.embedder.name!r}, that of the target with "
            f"{target.embedder.name!r}; delete that one, or `footnote reindex` one of them"
        )
    for what, mine, theirs in (
        ("chunking", source.edition.chunking, target.edition.chunking),
        ("code of token vectors", source.edition.token_code, target.edition.token_code),
        ("language", source.language, target.language),
    ):
        if mine != theirs:
            raise Conflict(
                f"collection {source.name!r} has the {what} {mine!r}, the one of that name in the target {theirs!r}; "
                "delete that one to copy this one"
            )


def _check_nothing_of_its_own(source: Snapshot, target: Snapshot, lines: Mapping[str, SourceRecord]) -> None:
    """Raise Conflict when the target knows anything that the source does not know, or knows it from later."""
    theirs = target.sources()
    for what, found in (
        ("holds documents that the source has not", list(_absent(_doc_ids(target), _doc_ids(source)))),
        ("has ledger lines that the source has not", [one.source_uri for one in theirs if one.source_uri not in lines]),
        (
            "was given other versions later than the source",
            [one.source_uri for one in theirs if one.recorded_at > lines.get(one.source_uri, one).recorded_at],
        ),
    ):
        if found:
            raise Conflict(
                f"the target's collection {target.info.name!r} {what}: {_named(found)}. A copy would mix the two or "
                "lose what is there; delete these documents there (`footnote delete`), or all of it, and copy again"
            )


def _check_alike(source: CollectionInfo, target: CollectionInfo, differing: Sequence[str]) -> None:
    if differing:
        raise StoreError(
            f"the copy of {source.name!r} is not what was copied: {_named(differing)} differ in the target; "
            "if nobody wrote to the target meanwhile, it has lost or changed data: check it before you use it"
        )
    mine, theirs = ((info.documents, info.chunks, info.fields) for info in (source, target))
    if mine != theirs:
        raise StoreError(
            f"the copy of {source.name!r} is not what was copied: the source has (documents, chunks, fields) {mine!r}, "
            f"the target {theirs!r}; somebody writes to the target meanwhile, or it keeps count wrongly"
        )


def _batches(snapshot: Snapshot) -> Iterator[list[str]]:
    """The ids of all documents, ascending, in groups of about `_BATCH_CHUNKS` chunks; one document at least."""
    most = _BATCH_CHUNKS * snapshot.info.edition.chunking.chunk_tokens * _TOKEN_CHARACTERS
    batch: list[str] = []
    characters = 0
    for info in _documents(snapshot):
        if batch and (characters + info.characters > most or len(batch) == _BATCH_CHUNKS):
            yield batch
            batch, characters = [], 0
        batch.append(info.doc_id)
        characters += info.characters
    if batch:
        yield batch


def _doc_ids(snapshot: Snapshot) -> Iterator[str]:
    return (info.doc_id for info in _documents(snapshot))


def _documents(snapshot: Snapshot) -> Iterator[DocumentInfo]:
    """All of them, by doc_id ascending, a page in memory at a time."""
    after = ""
    while page := snapshot.documents(after=after, limit=_PAGE):
        yield from page
        after = page[-1].doc_id


def _absent(these: Iterator[str], those: Iterator[str]) -> Iterator[str]:
    """Which of `these` are not among `those`; both ascending."""
    other: str | None = ""
    for one in these:
        while other is not None and other < one:
            other = next(those, None)
        if other != one:
            yield one


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more

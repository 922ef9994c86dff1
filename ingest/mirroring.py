"""What becomes of outcomes in the collection: what goes in one commit, what it takes away, and what the run reports.

An archive's own line is written when all of its members are done with: a run that was cut off before looks into it
again. Documents whose source has moved, and what a message or an archive does not hold any more, go in the commit that
takes their place.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ingest import ledger
from ingest.events import Discovered, Finished, OnEvent, Report
from ingest.planning import Family, Plan, has_document
from ingest.tasks import Outcome, Prepared, Settled, Task
from ingest.writing import Unit, Writer
from retrieval.ports import VectorStore
from retrieval.records import SourceRecord


@dataclass(slots=True)
class _Archive:
    """One that is being worked on."""

    settled: Settled
    pending: int
    """Members that are not done with, and the outcome itself."""
    gone: tuple[str, ...]
    """Ids of documents to delete with it."""


class Mirror:
    """Takes outcomes from one thread. What is committed is reported from the writing thread."""

    def __init__(
        self,
        plan: Plan,
        writer: Writer,
        store: VectorStore,
        *,
        restore: bool,
        force: frozenset[str],
        on_event: OnEvent,
    ) -> None:
        self.report = Report()
        self._plan = plan
        self._writer = writer
        self._store = store
        self._restore = restore
        self._force = force
        self._on_event = on_event
        self._lock = threading.RLock()
        self._family = Family(plan.lines)
        self._moves = _Moves(plan, self._family)
        self._holders = _holders(plan.lines.values())
        self._archives: dict[str, _Archive] = {}
        self._size = plan.size

    def begin(self) -> None:
        """Report what needs no work."""
        plan = self._plan
        self.report.files = plan.files
        self._on_event(Discovered(plan.files, self._size))
        self.report.deleted = len(plan.deleted)
        for source in plan.unchanged:
            self.report.unchanged += 1
            self._on_event(Finished(source.uri, source.name, "unchanged", source.size))
        for line in plan.failures:
            self._known_failure(line)

    def take(self, outcome: Outcome) -> Sequence[Task]:
        """Have the outcome committed; returns the members of an archive that are to be read."""
        outcome = self._without_deleted(outcome)
        members = [self._adopted(member) for member in outcome.members]
        within = [line.size for line in _lines(outcome) if line.source_uri != outcome.uri]
        self._grow([*within, *(member.size for member in members)])
        if outcome.archive is not None:
            self._open(outcome.archive, outcome, members)
        known = [settled for settled in outcome.settled if settled.unchanged]
        for settled in known:
            self._unchanged(settled)
        if len(known) < len(outcome.settled) or outcome.documents or outcome.archive:
            self._writer.add(self._unit(outcome))
        else:
            self._member_done(outcome.settled[0].line.parent)
        return members

    def _unit(self, outcome: Outcome) -> Unit:
        """What is committed of an outcome that brings something."""
        documents = outcome.documents
        failed = [one for one in outcome.settled if not one.unchanged]
        parent = outcome.uri if outcome.archive is not None else _lines(outcome)[0].parent

        def done(written: Sequence[Prepared]) -> None:
            for one in written:
                self._ingested(one.line, one.name)
            for settled in failed:
                self._settled(settled)
            self._member_done(parent)

        return Unit(
            documents=documents,
            lines=tuple(ledger.keeping(one.line, self._plan.lines.get(one.line.source_uri)) for one in failed),
            replaces=self._replaced(outcome, documents),
            donors=tuple(donor for one in documents for donor in self._donors(one)),
            done=done,
        )

    def _replaced(self, outcome: Outcome, documents: Sequence[Prepared]) -> tuple[str, ...]:
        """Ids of documents that the outcome's take the place of."""
        if not documents or outcome.archive is not None:
            return ()
        kept = {line.source_uri for line in _lines(outcome)}
        left = [line for line in self._family.below(outcome.uri) if line.source_uri not in kept]
        gone = [line.doc_id for line in left if line.status != "deleted"]
        for one in documents:
            if one.line.source_uri not in self._plan.lines and (moved := self._moves.take(one.line.content_hash)):
                self.report.moved += 1
                gone += moved
        return tuple(dict.fromkeys(gone))

    def _donors(self, one: Prepared) -> list[str]:
        """Ids of documents that may hold the same texts: its own former version, and any of the same content."""
        before = self._plan.lines.get(one.line.source_uri)
        own = [before.doc_id] if before is not None and has_document(before) else []
        return [*own, *self._holders.get(one.line.content_hash, ())]

    def _adopted(self, member: Task) -> Task:
        """A member with what the ledger knows of it."""
        return replace(member, before=self._plan.lines.get(member.uri), force=member.uri in self._force)

    def _without_deleted(self, outcome: Outcome) -> Outcome:
        """Without what somebody has deleted of it; the source itself would not be here then."""
        documents = tuple(one for one in outcome.documents if not self._is_deleted(one.line.source_uri))
        settled = tuple(one for one in outcome.settled if not self._is_deleted(one.line.source_uri))
        members = []
        for member in outcome.members:
            if self._is_deleted(member.uri):
                member.path.unlink(missing_ok=True)
            else:
                members.append(member)
        left = len(outcome.documents) - len(documents) + len(outcome.members) - len(members)
        self.report.deleted += left
        return replace(outcome, documents=documents, settled=settled, members=tuple(members))

    def _is_deleted(self, uri: str) -> bool:
        line = self._plan.lines.get(uri)
        return line is not None and line.status == "deleted" and not self._restore

    def _open(self, settled: Settled, outcome: Outcome, members: Sequence[Task]) -> None:
        """An archive, of which the members follow."""
        line = settled.line
        held = {task.uri for task in members} | {one.line.source_uri for one in outcome.settled}
        children = [one for one in self._children(line.source_uri) if one.status != "deleted"]
        left = [one for one in children if one.source_uri not in held]
        gone = [line.doc_id]  # what is an archive now may have been a document before
        for one in left:
            gone += [lost.doc_id for lost in (one, *self._family.below(one.source_uri)) if lost.status != "deleted"]
        if line.source_uri not in self._plan.lines and (moved := self._moves.take(line.content_hash)):
            self.report.moved += 1
            gone += moved
        with self._lock:
            self._archives[line.source_uri] = _Archive(settled, len(members) + 1, tuple(dict.fromkeys(gone)))

    def _children(self, uri: str) -> list[SourceRecord]:
        return [line for line in self._family.below(uri) if line.parent == uri]

    def _member_done(self, parent: str) -> None:
        """One of an archive's members is durable; the last one completes it."""
        with self._lock:
            archive = self._archives.get(parent)
            if archive is None:
                return
            archive.pending -= 1
            if archive.pending:
                return
            del self._archives[parent]
        self._store.delete(archive.gone, leave=[archive.settled.line])
        self._settled(archive.settled)
        self._member_done(archive.settled.line.parent)

    def _grow(self, sizes: Sequence[int]) -> None:
        """There is more to do than was known: sources of these sizes in bytes."""
        if sizes:
            self.report.files += len(sizes)
            self._size += sum(sizes)
            self._on_event(Discovered(self.report.files, self._size))

    def _unchanged(self, settled: Settled) -> None:
        """It is as it was; what tells so without reading may be another now."""
        line = settled.line
        if line != self._plan.lines.get(line.source_uri):
            self._writer.add(Unit(lines=(line,)))
        if line.status != "ingested":
            self._known_failure(line, settled.name)
            return
        with self._lock:
            self.report.unchanged += 1
        self._on_event(Finished(line.source_uri, settled.name, "unchanged", line.size))

    def _known_failure(self, line: SourceRecord, name: str = "") -> None:
        self.report.known_failures += 1
        self._on_event(_finished(line, name or line.source_uri, known=True))

    def _ingested(self, line: SourceRecord, name: str) -> None:
        with self._lock:
            self.report.ingested += 1
        self._on_event(_finished(line, name))

    def _settled(self, settled: Settled) -> None:
        """An archive, or a failure, is recorded."""
        if settled.line.status == "ingested":
            self._ingested(settled.line, settled.name)
            return
        finished = _finished(settled.line, settled.name)
        with self._lock:
            self.report.failures.append(finished)
        self._on_event(finished)


class _Moves:
    """Documents that have lost their source, by content: one that appears elsewhere with it has only moved."""

    def __init__(self, plan: Plan, family: Family) -> None:
        self._plan = plan
        self._family = family
        self._gone: defaultdict[str, list[str]] = defaultdict(list)
        for uri, line in plan.gone.items():
            if line.status == "ingested" and line.content_hash:
                self._gone[line.content_hash].append(uri)

    def take(self, content_hash: str) -> list[str]:
        """Ids of one document with this content, and of what came within it; they are gone no more."""
        uris = self._gone.get(content_hash, [])
        while uris:
            line = self._plan.gone.get(uris.pop(0))
            if line is not None:
                lines = [line, *self._family.below(line.source_uri)]
                return [one.doc_id for one in lines if self._plan.gone.pop(one.source_uri, None) is not None]
        return []


def _lines(outcome: Outcome) -> list[SourceRecord]:
    """Those of documents first."""
    return [*(one.line for one in outcome.documents), *(one.line for one in outcome.settled)]


def _holders(lines: Iterable[SourceRecord]) -> Mapping[str, Sequence[str]]:
    """Ids of documents by the hash of what they were made of."""
    holders: dict[str, tuple[str]] = {}
    for line in lines:
        if line.status == "ingested" and line.chunks:
            holders[line.content_hash] = (line.doc_id,)
    return holders


def _finished(line: SourceRecord, name: str, *, known: bool = False) -> Finished:
    assert line.status != "deleted"  # noqa: S101 - tombstones are left out
    return Finished(
        line.source_uri, name, line.status, line.size, line.chunks if line.status == "ingested" else 0, line.error,
        line.reason, line.seconds, known,
    )  # fmt: skip

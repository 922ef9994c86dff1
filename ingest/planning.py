"""What is to be done with each source: the ledger's lines held against what was discovered. Reads no source."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ingest import ledger
from ingest.events import Planned
from ingest.sources import Source
from ingest.sources.identity import WITHIN
from retrieval.ports import Snapshot
from retrieval.records import MetadataValue, SourceRecord

_PAGE = 5_000
"""Ledger lines read at a time."""
_DEEPEST = 100
"""Sources within each other, at most; far more than any loader opens."""

Action = Literal["new", "changed", "retried"]
"""changed: something about it has, perhaps not its bytes; retried: it failed, and may not do so again."""


@dataclass(frozen=True, slots=True)
class Step:
    """A source to be fetched and read."""

    source: Source
    action: Action
    before: SourceRecord | None = None
    force: bool = False
    """Even if its bytes are as they were."""


@dataclass(slots=True)
class Plan:
    """All that a run has to do."""

    lines: Mapping[str, SourceRecord]
    """What the ledger knows of the roots and below, by URI."""
    empty_roots: tuple[str, ...] = ()
    """Roots without any source now, that the ledger has some of."""
    files: int = 0
    size: int = 0
    """Bytes of all sources."""
    steps: list[Step] = field(default_factory=list)
    unchanged: list[Source] = field(default_factory=list)
    failures: list[SourceRecord] = field(default_factory=list)
    """Known ones, not to be tried again."""
    deleted: list[SourceRecord] = field(default_factory=list)
    """Tombstones whose source is still there."""
    gone: dict[str, SourceRecord] = field(default_factory=dict)
    """Lines whose source, or the archive or message that it came in, is not there any more."""

    @property
    def totals(self) -> Planned:
        """In numbers."""
        new = sum(step.action == "new" for step in self.steps)
        gone = sum(map(has_document, self.gone.values()))
        settled = len(self.unchanged), len(self.failures), len(self.deleted)
        return Planned(new, len(self.steps) - new, *settled, gone)

    @property
    def documents(self) -> int:
        """What the collection has of the roots and below."""
        return sum(map(has_document, self.lines.values()))


def read_ledger(snapshot: Snapshot, roots: Sequence[str]) -> dict[str, SourceRecord]:
    """The ledger's lines of `roots` and below, by URI."""
    lines: dict[str, SourceRecord] = {}
    for root in dict.fromkeys(roots):
        after, full = "", True
        while full:
            page = snapshot.sources(prefix=root, after=after, limit=_PAGE)
            full = len(page) == _PAGE
            after = page[-1].source_uri if page else ""
            lines.update((line.source_uri, line) for line in page if is_below(line.source_uri, root))
    return lines


def plan(
    sources: Iterable[Source],
    *,
    roots: Sequence[str],
    lines: Mapping[str, SourceRecord],
    given: Mapping[str, MetadataValue],
    ocr: str,
    restore: bool = False,
    force: frozenset[str] = frozenset(),
) -> Plan:
    """What to do with `sources`, which were discovered at and below `roots`; `lines` as `read_ledger` gives them.

    A source is as it was, without a look into it, when its validator is, and its parser and the metadata `given` are.
    `ocr` are the languages in which text can be recognised now; `restore` brings back what was deleted on
    purpose; the sources at the URIs of `force` are read in any case.
    """
    made = Plan(lines)
    family = Family(lines)
    closed: list[str] = []
    seen: set[str] = set()
    for source in sources:
        seen.add(source.uri)
        made.files += 1
        made.size += source.size
        if source.folder:
            closed.append(source.uri)
        before = lines.get(source.uri)
        if before is None:
            made.steps.append(Step(source, "new", force=source.uri in force))
        elif before.status == "deleted":
            made.steps.append(Step(source, "new")) if restore else made.deleted.append(before)
        else:
            below = list(family.below(source.uri))
            stale = any(restore if line.status == "deleted" else not _stands(line, given, ocr) for line in below)
            if source.uri in force or stale or not (_is_same(source, before) and _stands(before, given, ocr)):
                made.steps.append(_again(source, before, force=source.uri in force or stale))
            elif before.status == "ingested":
                made.unchanged.append(source)
                made.failures += filter(_is_failure, below)
            else:
                made.failures.append(before)
    for uri, line in lines.items():
        if line.status != "deleted" and family.top(uri) not in seen and not any(is_below(uri, at) for at in closed):
            made.gone[uri] = line
    found = sorted(seen)
    made.empty_roots = tuple(
        root
        for root in dict.fromkeys(roots)
        if any(is_below(uri, root) for uri in made.gone) and not any(is_below(uri, root) for uri in found)
    )
    return made


def is_below(uri: str, root: str) -> bool:
    """Whether a sync of `root` concerns `uri`. A web site has pages below it, a page only what came in it."""
    if uri == root or uri.startswith(root + WITHIN):
        return True
    scheme, _, place = root.partition("://")
    is_page = scheme in ("http", "https") and "/" in place
    return uri.startswith(root + "/") and not is_page


def has_document(line: SourceRecord) -> bool:
    """Whether the collection has a document of this source, were it of a former version."""
    return line.status != "deleted" and (bool(line.version) or line.chunks > 0)


class Family:
    """What came within what: archives and their members, messages and their attachments."""

    def __init__(self, lines: Mapping[str, SourceRecord]) -> None:
        self._lines = lines
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        for uri, line in lines.items():
            if line.parent:
                self._children[line.parent].append(uri)

    def top(self, uri: str) -> str:
        """The source that stands by itself, in which `uri` came."""
        for _ in range(_DEEPEST):
            line = self._lines.get(uri)
            if line is None or not line.parent:
                break
            uri = line.parent
        return uri

    def below(self, uri: str) -> Iterator[SourceRecord]:
        """All that came within `uri`, however deep."""
        pending = list(self._children.get(uri, ()))
        while pending:
            child = pending.pop()
            yield self._lines[child]
            pending.extend(self._children.get(child, ()))


def _is_same(source: Source, before: SourceRecord) -> bool:
    """Whether nothing has changed about the source, as far as that shows from outside."""
    return bool(source.validator) and source.validator == before.validator and not source.problem


def _again(source: Source, before: SourceRecord, *, force: bool) -> Step:
    retried = before.status != "ingested" and (bool(source.problem) or _is_same(source, before))
    return Step(source, "retried" if retried else "changed", before, force)


def _stands(line: SourceRecord, given: Mapping[str, MetadataValue], ocr: str) -> bool:
    """Whether the line would come out the same for the same bytes."""
    return ledger.is_settled(line, ocr=ocr) and ledger.is_up_to_date(line, given)


def _is_failure(line: SourceRecord) -> bool:
    return line.status not in ("ingested", "deleted")

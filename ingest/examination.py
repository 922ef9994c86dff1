"""What a run would do with each source: a plan looked at closely, as `--dry-run` shows it. Writes nothing.

Local files that may have changed are read and hashed, so that one that was only touched, or has moved, shows as such.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ingest import ledger, planning
from ingest.planning import Family, Plan, Step
from ingest.sources import content_hash, read_file
from retrieval.errors import LoadError
from retrieval.records import MetadataValue, SourceRecord

What = Literal["new", "changed", "retried", "moved", "unchanged", "failed", "deleted", "gone", "pruned"]
"""failed: a known failure, not tried again; deleted: on purpose, and left so; gone: its source is, and it stays;
pruned: its source is gone, and it goes, too."""


@dataclass(frozen=True, slots=True)
class Action:
    """What would become of one source."""

    action: What
    uri: str
    before: str = ""
    """Where a source was that has moved."""


def actions(plan: Plan, *, given: Mapping[str, MetadataValue], max_bytes: int, prune: bool) -> list[Action]:
    """All that a run would do, those first that take work. Larger files than `max_bytes` are not read."""
    gone = dict(plan.gone)
    found = list(_worked_on(plan, gone, given, max_bytes))
    found += [Action("failed", line.source_uri) for line in plan.failures]
    found += [Action("deleted", line.source_uri) for line in plan.deleted]
    found += [Action("pruned" if prune else "gone", uri) for uri, line in gone.items() if planning.has_document(line)]
    return found + [Action("unchanged", source.uri) for source in plan.unchanged]


def totals(found: Sequence[Action]) -> dict[str, int]:
    """How many of each, in their order."""
    return dict(Counter[str](one.action for one in found))


def _worked_on(
    plan: Plan, gone: dict[str, SourceRecord], given: Mapping[str, MetadataValue], max_bytes: int
) -> Iterator[Action]:
    family = Family(plan.lines)
    by_hash = defaultdict(list)
    for uri, line in gone.items():
        if line.status == "ingested":
            by_hash[line.content_hash].append(uri)
    for step in plan.steps:
        digest = _digest(step, max_bytes) if step.before or gone else ""
        before = next((uri for uri in by_hash[digest] if uri in gone), "") if step.before is None and digest else ""
        if before:
            for line in (gone[before], *family.below(before)):  # what came in it moves, too
                gone.pop(line.source_uri, None)
            yield Action("moved", step.source.uri, before)
        elif _is_as_before(step, digest, given):
            yield Action("unchanged", step.source.uri)
        else:
            yield Action(step.action, step.source.uri)


def _is_as_before(step: Step, digest: str, given: Mapping[str, MetadataValue]) -> bool:
    """Whether it was only touched. Its own metadata is not compared: a changed sidecar shows as a change."""
    before = step.before
    return (
        before is not None
        and before.status == "ingested"
        and not (step.force or step.source.sidecar)
        and before.content_hash == digest
        and ledger.is_up_to_date(before, given)
    )


def _digest(step: Step, max_bytes: int) -> str:
    """Of a local file's content; empty for one that cannot be read, or not from here."""
    if step.source.path is None or step.source.problem or step.source.size > max_bytes:
        return ""
    try:
        return content_hash(read_file(step.source.path, name=step.source.name, max_bytes=max_bytes))
    except LoadError:
        return ""

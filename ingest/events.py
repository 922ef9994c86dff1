"""What a run tells while it works, and what it has done in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Result = Literal["ingested", "unchanged", "failed", "unsupported", "needs-ocr"]


@dataclass(frozen=True, slots=True)
class Discovered:
    """How much there is to do, as far as known by now; archives and messages add to it when they are opened."""

    files: int
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done with the sources, before anything of it is done."""

    new: int
    changed: int
    """Perhaps: some turn out, once read, to be as they were."""
    unchanged: int
    failures: int
    """Known ones, which are not tried again."""
    deleted: int
    """Left out, since somebody has deleted their documents."""
    gone: int
    """Documents whose source is not there any more."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Some more chunks have vectors."""

    chunks: int


@dataclass(frozen=True, slots=True)
class Finished:
    """One source is done with; for an ingested one, its document is durable."""

    source_uri: str
    name: str
    outcome: Result
    size: int
    chunks: int = 0
    error: str = ""
    reason: str = ""
    """See `ingest.ledger.Reason`."""
    seconds: tuple[tuple[str, float], ...] = ()
    """(stage, seconds)"""
    known: bool = False
    """Of a failure: it was one before, and was not tried again."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """Documents whose source is gone are about to be deleted."""

    documents: int
    uris: tuple[str, ...]
    """Of the first few."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Some time has passed."""

    stage: str
    """What the run is busy with: 'reading', 'embedding', 'writing'."""
    reading: tuple[tuple[str, float], ...] = ()
    """Files that are being read now: name, and for how many seconds."""


Event = Discovered | Planned | Embedded | Finished | Pruning | Ticked
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """For callers that do not watch."""


@dataclass(slots=True)
class Report:
    """What one run did."""

    files: int = 0
    """Sources, and what came within archives and messages that were opened."""
    ingested: int = 0
    unchanged: int = 0
    failures: list[Finished] = field(default_factory=list)
    """Those of this run."""
    known_failures: int = 0
    """Not tried again, since nothing has changed about them."""
    deleted: int = 0
    """Left out, since somebody has deleted their documents."""
    moved: int = 0
    """Of the ingested, those whose content had another URI before."""
    gone: int = 0
    """Documents whose source is not there any more, and that were left."""
    pruned: int = 0
    """The same, deleted."""
    chunks: int = 0
    """Embedded in this run."""
    reused: int = 0
    """Chunks that kept their vector."""
    seconds: float = 0.0
    embed_seconds: float = 0.0
    """Of `seconds`, those spent in the embedder."""

    @property
    def complete(self) -> bool:
        """Whether every source is in the collection now."""
        return not self.failures and not self.known_failures

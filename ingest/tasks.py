"""What goes to an engine and what comes back: records that can be pickled, and know nothing of the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.records import Chunk, Document, MetadataValue, SourceRecord


@dataclass(frozen=True, slots=True)
class Task:
    """One fetched source, to be read and cut."""

    uri: str
    name: str
    path: Path
    """A local file that holds the source's bytes."""
    size: int
    validator: str = ""
    media_type: str = ""
    """What a server said; a hint."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    """Given with the source: from the command line or a sidecar. Wins over what the file itself tells."""
    metadata_id: str = "none"
    """Names it in the fingerprint: see `ingest.ledger.metadata_id`."""
    before: SourceRecord | None = None
    """The ledger's line of this source, if it has one."""
    force: bool = False
    """Read it even when nothing has changed."""
    alone: bool = False
    """Leave unread what came within it: reading that may be what has ended a worker."""
    parent: str = ""
    """URI of the archive that it came in."""
    depth: int = 0
    """Archives that it lies in."""
    spool: Path | None = None
    """Folder for what is unpacked; None where nothing may be."""
    temporary: bool = False
    """Whether `path` is a copy in the spool folder, to be removed when done with."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document on its way to the embedder and into the store."""

    document: Document
    chunks: Sequence[Chunk]
    edition: int
    """For which the chunks were cut."""
    line: SourceRecord
    name: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A source that needs no embedding: an archive, one that is as it was, or one that cannot be read."""

    line: SourceRecord
    name: str
    unchanged: bool = False
    """An earlier run settled it: it gave its document, or failed, and would do the same again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task. What it holds is committed together: a message with its attachments."""

    uri: str
    documents: tuple[Prepared, ...] = ()
    """The source's own first, then those of what came within it (`line.parent` is its URI)."""
    settled: tuple[Settled, ...] = ()
    archive: Settled | None = None
    """The source itself when it is an archive; to be recorded when all of its members are done with, not before."""
    members: tuple[Task, ...] = ()
    """Of an archive, unpacked into the spool folder: tasks of their own."""

"""What discovery finds and what fetching gives; every kind of place speaks these."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from retrieval.records import MetadataValue


@dataclass(frozen=True, slots=True)
class Source:
    """One file, object or page, as it was when discovered; nothing of its content has been read.

    `problem` is empty for what can be read; otherwise it says why not (a dangling link, a pipe, no permission), and
    fetching raises it.
    """

    uri: str
    """Absolute: `file:///...` with the path's bytes percent-encoded, `s3://bucket/key`, `https://...`."""
    name: str
    """Its file name, fit to show: bytes that are no UTF-8 are shown as U+FFFD."""
    size: int
    """Bytes; 0 when the place does not tell before reading."""
    validator: str = ""
    """Equal as long as nothing has changed, sidecar file included, and cheap to get; empty when nothing tells."""
    problem: str = ""
    folder: bool = False
    """With a `problem`: it concerns a whole folder, so nothing is known about what is below the URI."""
    path: Path | None = None
    """Of a local file."""
    sidecar: str = ""
    """Where its metadata file is, as `path` or `uri`; empty when it has none."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A source's content as a local file that stays as it is."""

    path: Path
    temporary: bool = False
    """Whether it is a copy in the spool folder, to be removed when done with."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    """What came with it, from its sidecar."""
    media_type: str = ""
    """What the server said it is; a hint for content that cannot tell."""
    validator: str = ""
    """Of what was read, where the place tells; may be newer than the source's."""
    name: str = ""
    """What the server calls the file; empty when it does not say, and the source's name is as good."""
    unchanged: bool = False
    """The content is still that of the validator given to `fetch`, and was not read: `path` is no file."""


class Sources(Protocol):
    """What the arguments of one run name: found when iterated, read when fetched. `discover` gives it."""

    @property
    def roots(self) -> tuple[str, ...]:
        """URI of each argument, in order; of a folder without a slash at its end. A sync concerns what is below."""
        ...

    def __iter__(self) -> Iterator[Source]:
        """Each source once, in a fixed order. A place that cannot be listed is a Source with a `problem`."""
        ...

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:
        """Make the content of `source` a local file, in folder `spool` unless it is one already. Thread-safe.

        `known` is the validator of what an earlier run has read; where a place tells only when asked for the content,
        as web servers do, an equal one comes back as `unchanged`. Raises a LoadError: FetchError where trying again
        may help, LimitExceeded for what is too large.
        """
        ...

    def close(self) -> None:
        """Release connections, and end waits for them."""
        ...


class Place(Protocol):
    """One kind of place: what each of the sources has that `discover` puts together."""

    def root(self, argument: str | Path) -> str:
        """URI of an argument. Raises SourceNotFound when there is no such thing, InvalidRequest, ConfigError."""
        ...

    def find(self, roots: Sequence[str]) -> Iterator[Source]:
        """What is at and below `roots`; see `Sources.__iter__`."""
        ...

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:
        """See `Sources.fetch`."""
        ...

    def close(self) -> None:
        """See `Sources.close`."""
        ...

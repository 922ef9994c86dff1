"""What the ledger says about a source: whether it must be processed, and what became of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ingest.loaders import Loader
from retrieval.errors import FootnoteError, UnsupportedMedia
from retrieval.ports import Snapshot
from retrieval.records import MetadataValue, SourceRecord, SourceStatus

_LOOKUP = 1_000


def fingerprint(loader: Loader, *, metadata: Mapping[str, MetadataValue]) -> str:
    """Names everything that the stored document of a source depends on, but for its bytes.

    A source whose bytes and fingerprint are as before gives what is stored already; a new parser or other given
    metadata process it again. Chunks and vectors depend on the edition only, and follow it by themselves.
    """
    given = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode()).hexdigest()[:8] if metadata else "none"
    return f"{loader.parser_id} metadata:{given}"


def known(snapshot: Snapshot, uris: Sequence[str]) -> dict[str, SourceRecord]:
    """The ledger's lines of `uris`, by URI."""
    found: dict[str, SourceRecord] = {}
    for i in range(0, len(uris), _LOOKUP):
        found.update({line.source_uri: line for line in snapshot.sources(uris=uris[i : i + _LOOKUP])})
    return found


def is_current(line: SourceRecord | None, *, content_hash: str, fingerprint: str) -> bool:
    """Whether the source needs no work. A failure is tried again each time: what it lacked may be there now."""
    return (
        line is not None
        and line.status == "ingested"
        and line.content_hash == content_hash
        and line.fingerprint == fingerprint
    )


def failure(line: SourceRecord, error: FootnoteError) -> SourceRecord:
    """The line of a source that gave no document."""
    status: SourceStatus = "unsupported" if isinstance(error, UnsupportedMedia) else "failed"
    return replace(line, status=status, error=str(error), recorded_at=now())


def now() -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

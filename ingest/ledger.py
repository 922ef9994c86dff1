"""What the ledger says about a source: whether it must be processed, and what became of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Literal

from ingest import loaders
from retrieval.errors import (
    CorruptFile,
    EmptyDocument,
    EncryptedFile,
    FetchError,
    LimitExceeded,
    MissingExtra,
    NeedsOcr,
    UnsupportedMedia,
    WorkerDied,
)
from retrieval.records import MetadataValue, SourceRecord, SourceStatus

Reason = Literal[
    "corrupt", "encrypted", "empty", "unsupported", "needs-ocr", "missing-extra", "limit", "crashed", "unreadable",
    "internal", "damaged",
]  # fmt: skip
"""Why a source was not ingested.

unsupported: no loader reads such files; missing-extra: one would, with a package that is not installed; limit: it
takes more bytes, memory or time than it may; crashed: it ended the process that read it; unreadable: the source could
not be fetched or opened; internal: an error of Footnote's own; damaged: it was ingested, and `footnote doctor` has
found that what the collection has of it is lost or not what it was.
"""

_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (CorruptFile, "corrupt"),
    (EncryptedFile, "encrypted"),
    (EmptyDocument, "empty"),
    (UnsupportedMedia, "unsupported"),
    (NeedsOcr, "needs-ocr"),
    (MissingExtra, "missing-extra"),
    (LimitExceeded, "limit"),
    (WorkerDied, "crashed"),
    (FetchError, "unreadable"),
)

_STATUS: dict[Reason, SourceStatus] = {"unsupported": "unsupported", "needs-ocr": "needs-ocr"}

_METADATA, _OCR = " metadata:", " ocr:"
"""What the parts of a fingerprint begin with, after the parser."""

_PASSING = frozenset({"unreadable", "missing-extra", "internal", "damaged"})
"""Reasons that may be gone by the next run, with nothing changed about the source."""


def metadata_id(given: Mapping[str, MetadataValue], own: Mapping[str, MetadataValue]) -> str:
    """Names metadata in a fingerprint: what was given for all sources, then what came with this one."""
    return _digest(given) + (f"+{_digest(own)}" if own else "")


def fingerprint(parser_id: str, metadata: str) -> str:
    """Names everything that the stored document of a source depends on, but for its bytes.

    A source whose bytes and fingerprint are as before gives what is stored already; a new parser or other metadata
    (see `metadata_id`) process it again. Chunks and vectors depend on the edition only, and follow it by themselves.
    """
    return f"{parser_id}{_METADATA}{metadata}"


def detection_id() -> str:
    """Stands for the parser of a file for which none was found."""
    return f"detection/{loaders.CLEANING_VERSION}"


def is_up_to_date(line: SourceRecord, given: Mapping[str, MetadataValue]) -> bool:
    """Whether a source that has not changed would be processed as it was: same parser, same metadata `given`."""
    return has_metadata(line, given) and _is_current(line.parser)


def has_metadata(line: SourceRecord, given: Mapping[str, MetadataValue]) -> bool:
    """Whether that is what was given for all sources of the run that wrote the line."""
    metadata = line.fingerprint.partition(_OCR)[0].rpartition(_METADATA)[2]
    return metadata.partition("+")[0] == _digest(given)


def is_settled(line: SourceRecord, *, ocr: str) -> bool:
    """Whether trying again would give the same, with the source and its parser as they are.

    `ocr` are the languages in which text can be recognised now; empty when it cannot.
    """
    _, by_ocr, languages = line.fingerprint.partition(_OCR)
    if by_ocr or line.status == "needs-ocr":
        return languages == ocr or (line.status == "ingested" and not ocr)
    return line.status in ("ingested", "unsupported") or (
        line.status == "failed" and bool(line.reason) and line.reason not in _PASSING
    )


def is_known(line: SourceRecord | None, now: SourceRecord, *, ocr: str) -> bool:
    """Whether `line` says already what became of the source as it is `now`: these bytes, read by this parser."""
    return (
        line is not None
        and bool(now.content_hash)
        and (line.content_hash, line.fingerprint.partition(_OCR)[0]) == (now.content_hash, now.fingerprint)
        and is_settled(line, ocr=ocr)
    )


def reason(error: Exception) -> Reason:
    """One word for why a source was not ingested."""
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "internal")


def failure(line: SourceRecord, error: Exception, *, ocr: str = "") -> SourceRecord:
    """The line of a source that gave no document; `ocr` are the languages in which text recognition found nothing."""
    word = reason(error)
    if word == "needs-ocr":
        line = scanned(line, ocr=ocr)
    return replace(
        line,
        status=_STATUS.get(word, "failed"),
        reason=word,
        error=str(error),
        version="",
        chunks=0,
        pages=0,
        recorded_at=now(),
    )


def keeping(line: SourceRecord, before: SourceRecord | None) -> SourceRecord:
    """The line of a failure, saying which document of a former run (`before`) stays in the collection."""
    if before is None or line.status in ("ingested", "deleted"):
        return line
    return replace(line, version=before.version, chunks=before.chunks, pages=before.pages)


def scanned(line: SourceRecord, *, ocr: str) -> SourceRecord:
    """The line of a source with pages that are images: another text recognition than `ocr` may give another text."""
    return replace(line, fingerprint=f"{line.fingerprint}{_OCR}{ocr}")


def now() -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _digest(metadata: Mapping[str, MetadataValue]) -> str:
    return hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode()).hexdigest()[:8] if metadata else "none"


def _is_current(parser_id: str) -> bool:
    """Whether it names a parser as it is installed now."""
    name, _, _ = parser_id.partition("/")
    if name == "detection" or not name.isidentifier():
        return parser_id == detection_id()
    try:
        module = import_module(f"ingest.loaders.{name}")
    except ImportError:
        return False
    return parser_id == f"{name}/{getattr(module, 'VERSION', '')}.{loaders.CLEANING_VERSION}"

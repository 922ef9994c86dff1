"""What every store refuses before it writes, and the names that collections may have."""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple

import numpy as np

from retrieval.errors import (
    EditionChanged,
    EditionIncomplete,
    EditionLive,
    EditionNotFound,
    EmbedderMismatch,
    InvalidRequest,
)
from retrieval.ports import Finding, Replacement, Vectors
from retrieval.records import EmbedderInfo, MetadataValue, SourceRecord

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
SCORE_DECIMALS = 6
"""Scores are rounded to this, so that stores which add up in another order agree, ties included."""


NORM_TOLERANCE = 1e-3
"""How far the length of a vector may be from 1."""


def is_name(name: str) -> bool:
    """Whether a collection may be called so."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """The name, when it is fit for a collection."""
    if not is_name(name):
        raise InvalidRequest(
            f"collection name {name!r}: use 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or digit"
        )
    return name


def check_text(*texts: str) -> None:
    """Raise InvalidRequest for lone surrogates: they are no Unicode text, so they name nothing and cannot be kept."""
    for text in texts:
        if not is_unicode(text):
            raise InvalidRequest(f"{text!r:.100} holds lone surrogates; give valid Unicode text")


def check_sources(sources: Iterable[SourceRecord]) -> None:
    """Raise InvalidRequest for ledger lines with lone surrogates."""
    check_text(*(value for source in sources for value in astuple(source) if isinstance(value, str)))


def check_query_vector(vector: Vectors, embedder: EmbedderInfo) -> None:
    """A vector of the wrong length can only come from another model."""
    if vector.shape != (embedder.dimension,):
        raise EmbedderMismatch(
            f"the collection holds vectors of {embedder.dimension} dimensions ({embedder.name!r}), "
            f"the query has shape {vector.shape}"
        )


def check_edition(number: int, known: Collection[int]) -> None:
    """Raise EditionNotFound for a number that is not among `known`."""
    if number not in known:
        raise EditionNotFound(f"no edition {number}; there are: {', '.join(map(str, sorted(known)))}")


def check_live(expected: int | None, live: int) -> None:
    """Raise EditionChanged when chunks were made for another edition than the one that is live by now."""
    if expected is not None and expected != live:
        raise EditionChanged(f"the chunks were made for edition {expected}, but edition {live} is live by now")


def check_not_live(edition: int, live: int) -> None:
    """Raise EditionChanged for the live edition: its chunks come with `replace` only."""
    if edition == live:
        raise EditionChanged(f"edition {edition} is live by now: replace documents instead of indexing them")


def check_not_live_to_drop(edition: int, live: int) -> None:
    """Raise EditionLive for the live edition."""
    if edition == live:
        raise EditionLive(f"edition {edition} is live; switch to another one before you drop it")


def check_complete(edition: int, missing: int) -> None:
    """Raise EditionIncomplete when documents are missing in an edition."""
    if missing:
        raise EditionIncomplete(f"edition {edition} lacks {missing} of the collection's documents; index them first")


def check_replacements(replacements: Sequence[Replacement], embedder: EmbedderInfo, token_code: str) -> None:
    """Raise InvalidRequest or EmbedderMismatch before anything is written to an edition of these two."""
    seen: set[str] = set()
    for replacement in replacements:
        doc_id = replacement.document.doc_id
        if not doc_id or doc_id in seen:
            raise InvalidRequest(f"document id {doc_id!r} is empty or twice in one call")
        seen.add(doc_id)
        for what in ("doc_id", "source_uri", "title", "media_type"):
            if not is_unicode(value := getattr(replacement.document, what)):
                raise InvalidRequest(f"document {doc_id!r:.100}: its {what} {value!r:.100} is no valid Unicode text")
        for name, value in replacement.document.metadata.items():
            _check_metadata(doc_id, name, value)
        check_text(*replacement.replaces)
        _check_chunks(replacement)
        _check_vectors(replacement, embedder)
        _check_token_vectors(replacement, token_code)


def vector_fault(vector: Vectors, dimension: int) -> str:
    """What keeps a stored vector from being searched, in words; empty when nothing does."""
    if vector.shape != (dimension,):
        return f"its vector has shape {vector.shape}, the edition's have {dimension} dimensions"
    if not np.isfinite(vector).all():
        return "its vector holds NaN or infinity"
    length = float(np.linalg.norm(vector))
    return "" if abs(length - 1.0) <= NORM_TOLERANCE else f"its vector has length {length:.4f}, not 1"


def missing_token_vectors(chunk_id: str, doc_id: str, edition: int) -> Finding:
    """Of a chunk without them in an edition that keeps them."""
    detail = "it has no token vectors"
    return Finding("missing-token-vectors", chunk_id, detail, doc_id=doc_id, edition=edition)


def _check_metadata(doc_id: str, name: str, value: MetadataValue) -> None:
    values = value if isinstance(value, tuple | list) else (value,)
    for item in values:
        fits = (is_unicode(item) if isinstance(item, str) else isinstance(item, bool)) or (
            isinstance(item, int | float) and math.isfinite(item) and -(2**63) <= item < 2**63
        )
        if not fits:
            raise InvalidRequest(
                f"document {doc_id!r}: metadata field {name!r} holds {item!r:.100}; "
                "use Unicode text, finite numbers within 64 bits, booleans, or lists of them"
            )
    if not name or name.startswith("$") or not is_unicode(name):
        raise InvalidRequest(f"document {doc_id!r}: {name!r} cannot be the name of a metadata field")


def is_unicode(text: str) -> bool:
    """False for lone surrogates, which is how bytes that are no UTF-8 come in from a command line."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_chunks(replacement: Replacement) -> None:
    document, version = replacement.document, replacement.document.version
    for i, chunk in enumerate(replacement.chunks):
        if chunk.ordinal != i or chunk.doc_id != document.doc_id or chunk.version != version:
            raise InvalidRequest(f"chunk {chunk.chunk_id!r} is not chunk {i} of {document.doc_id!r} {version!r}")
        check_text(chunk.chunk_id, chunk.context, *chunk.headings)
        if document.text[chunk.start : chunk.end] != chunk.text:
            raise InvalidRequest(f"chunk {chunk.chunk_id!r}: its text is not at {chunk.start}:{chunk.end}")


def _check_vectors(replacement: Replacement, embedder: EmbedderInfo) -> None:
    expected = (len(replacement.chunks), embedder.dimension)
    if replacement.vectors.shape != expected:
        raise EmbedderMismatch(
            f"document {replacement.document.doc_id!r}: vectors of shape {replacement.vectors.shape}, "
            f"the collection needs {expected} ({embedder.name!r})"
        )
    if not np.isfinite(replacement.vectors).all():
        raise InvalidRequest(f"document {replacement.document.doc_id!r}: a vector holds NaN or infinity")
    lengths = np.linalg.norm(replacement.vectors, axis=1)
    if len(lengths) and np.abs(lengths - 1.0).max() > NORM_TOLERANCE:
        raise InvalidRequest(
            f"document {replacement.document.doc_id!r}: a vector has not length 1 but {lengths.min():.4f} to "
            f"{lengths.max():.4f}; L2-normalise vectors, so that an inner product is a cosine"
        )


def _check_token_vectors(replacement: Replacement, token_code: str) -> None:
    doc_id, given = replacement.document.doc_id, len(replacement.token_vectors)
    if not token_code:
        if given:
            raise InvalidRequest(f"document {doc_id!r}: {given} token vectors, but its edition keeps none")
        return
    if given != len(replacement.chunks):
        raise InvalidRequest(
            f"document {doc_id!r}: {given} token vectors for {len(replacement.chunks)} chunks; the edition keeps one "
            f"for each, in the code {token_code!r}"
        )
    if not all(replacement.token_vectors):
        raise InvalidRequest(f"document {doc_id!r}: the token vectors of a chunk are empty")

"""A checksum of what a collection holds, the same in every store: SHA-256 over bytes that leave nothing out.

Records are written as JSON arrays, which keep 1, 1.0, true and "1" apart, and floats to the last bit; vectors as they
are, float32, little-endian; token vectors as they are, each after its length.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from retrieval.ports import Replacement
from retrieval.records import Chunk, Document, SourceRecord


class Checksum:
    """Of a whole collection: its documents by doc_id ascending, then its ledger lines by source_uri ascending."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, digest: bytes) -> None:
        """The next document's digest, 32 bytes."""
        self._hash.update(digest)

    def add_line(self, line: SourceRecord) -> None:
        """The next line of the ledger."""
        self._hash.update(hashlib.sha256(_bytes(dataclasses.astuple(line))).digest())

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()


def document_digest(content: Replacement) -> bytes:
    """SHA-256 over a document, its chunks, their vectors and token vectors.

    Without its ledger line, which may change by itself.
    """
    digest = hashlib.sha256(_bytes([_document(content.document), [_chunk(chunk) for chunk in content.chunks]]))
    digest.update(np.ascontiguousarray(content.vectors, dtype="<f4").tobytes())
    for blob in content.token_vectors:
        digest.update(len(blob).to_bytes(8, "little"))
        digest.update(blob)
    return digest.digest()


def _document(document: Document) -> list[Any]:
    elements = [dataclasses.astuple(one) for one in document.elements]
    return [
        document.doc_id, document.version, document.source_uri, document.title, document.media_type, document.text,
        elements, document.page_starts, _metadata(document.metadata),
    ]  # fmt: skip


def _metadata(metadata: Mapping[str, Any]) -> list[Any]:
    """By name: the order of the fields says nothing."""
    return [[name, value] for name, value in sorted(metadata.items())]


def _chunk(chunk: Chunk) -> list[Any]:
    return [
        chunk.chunk_id, chunk.doc_id, chunk.version, chunk.ordinal, chunk.start, chunk.end, chunk.text, chunk.page,
        chunk.headings, chunk.context,
    ]  # fmt: skip


def _bytes(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode("ascii")

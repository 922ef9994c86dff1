"""Rows of the catalog as records."""

import json
from dataclasses import dataclass
from typing import Any

from retrieval.records import Chunk, Document, DocumentInfo, MetadataValue, StoredChunk
from retrieval.stores import serial

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment that the catalog knows: folder, edition, the range of keys it covers, chunks it was built of."""

    name: str
    edition: int
    first_key: int
    last_key: int
    chunks: int


def stored_chunk(row: Row) -> StoredChunk:
    """The columns of `Chunk` without its id's parts, then those of its document, as `catalog` selects them."""
    chunk_id, doc_id, version, ordinal, start, end, text, page, headings, context, *rest = row
    chunk = Chunk(
        chunk_id, doc_id, version, ordinal, start, end, text, page, tuple(json.loads(headings)), context
    )  # fmt: skip
    return StoredChunk(chunk, document_info((doc_id, version, *rest)))


def document(doc_id: str, row: Row) -> Document:
    """source_uri, title, media_type, text, elements, page_starts, metadata."""
    source_uri, title, media_type, text, elements, page_starts, metadata = row
    return Document(
        doc_id=doc_id,
        source_uri=source_uri,
        title=title,
        media_type=media_type,
        text=text,
        elements=serial.elements(elements),
        page_starts=tuple(json.loads(page_starts)),
        metadata=_metadata(metadata),
    )


def document_info(row: Row) -> DocumentInfo:
    """doc_id, version, source_uri, title, media_type, characters, page_starts, metadata."""
    doc_id, version, source_uri, title, media_type, characters, page_starts, metadata = row
    pages = len(json.loads(page_starts)) or None
    return DocumentInfo(doc_id, version, source_uri, title, media_type, characters, pages, _metadata(metadata))


def _metadata(text: str) -> dict[str, MetadataValue]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}

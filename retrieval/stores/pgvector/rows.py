"""Records as rows and back. Texts are escaped (see `text`); what SQL never looks into is JSON in a text column."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from retrieval.records import (
    Chunk,
    Chunking,
    Document,
    DocumentInfo,
    Edition,
    EmbedderInfo,
    MetadataValue,
    Scalar,
    SourceRecord,
    StoredChunk,
)
from retrieval.stores import serial
from retrieval.stores.pgvector.text import escape, unescape

Row = tuple[Any, ...]

INFO_COLUMNS = (
    "d.doc_id, d.version, d.source_uri, d.title, d.media_type, d.characters, d.page_starts, (d.metadata -> %s)::text"
)
"""Of a `DocumentInfo`, from `document d`; bound to the collection's key as text."""
CHUNK_COLUMNS = "c.chunk_id, c.ordinal, c.start_at, c.end_at, c.text, c.page, c.headings, c.context"
"""Of a `Chunk` without what it has of its document, from `chunk c`."""


def json_text(value: MetadataValue) -> str:
    """A scalar or a list as JSON of which jsonb gives back the same values of the same types."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(escape(value), ensure_ascii=False)
        case int():
            return str(int(value))
        case float():
            # jsonb keeps decimals as they are written: a point makes it a float again, all digits make it exact.
            return f"{value:.1f}" if value.is_integer() else repr(float(value))
        case _:
            return f"[{','.join(json_text(member) for member in value)}]"


def metadata_text(metadata: Mapping[str, MetadataValue], collection_key: int) -> str:
    """What is stored: below the collection's key, so that collections do not share entries of the index."""
    fields = ",".join(f"{json_text(name)}:{json_text(value)}" for name, value in metadata.items())
    return f'{{"{collection_key}":{{{fields}}}}}'


def field_names(metadata: Mapping[str, MetadataValue]) -> list[str]:
    """The fields that a document has, escaped; an empty list is no value."""
    return [escape(name) for name, value in metadata.items() if not isinstance(value, tuple | list) or value]


def document_row(document: Document, collection_key: int) -> Row:
    """doc_id, version, source_uri, title, media_type, characters, page_starts, metadata, text, elements."""
    return (
        escape(document.doc_id), document.version, escape(document.source_uri), escape(document.title),
        escape(document.media_type), len(document.text), json.dumps(document.page_starts),
        metadata_text(document.metadata, collection_key), escape(document.text),
        serial.elements_json(document.elements),
    )  # fmt: skip


def chunk_row(chunk: Chunk) -> Row:
    """As in CHUNK_COLUMNS."""
    return (
        escape(chunk.chunk_id), chunk.ordinal, chunk.start, chunk.end, escape(chunk.text), chunk.page,
        json.dumps(chunk.headings), escape(chunk.context),
    )  # fmt: skip


def source_row(source: SourceRecord) -> Row:
    """The fields of the record in their order."""
    return tuple(escape(value) if isinstance(value, str) else value for value in serial.source_row(source))


def source(row: Row) -> SourceRecord:
    """From the columns in the order of the record's fields."""
    return serial.source([unescape(value) if isinstance(value, str) else value for value in row])


def document(row: Row) -> Document:
    """From INFO_COLUMNS, text, elements."""
    info = document_info(row[:8])
    return Document(
        doc_id=info.doc_id,
        source_uri=info.source_uri,
        title=info.title,
        media_type=info.media_type,
        text=unescape(row[8]),
        elements=serial.elements(row[9]),
        page_starts=tuple(json.loads(row[6])),
        metadata=info.metadata,
    )


def document_info(row: Row) -> DocumentInfo:
    """From INFO_COLUMNS."""
    doc_id, version, source_uri, title, media_type, characters, page_starts, metadata = row
    return DocumentInfo(
        doc_id=unescape(doc_id),
        version=version,
        source_uri=unescape(source_uri),
        title=unescape(title),
        media_type=unescape(media_type),
        characters=characters,
        page_count=len(json.loads(page_starts)) or None,
        metadata={unescape(name): _value(value) for name, value in json.loads(metadata).items()},
    )


def chunk(row: Row, doc_id: str, version: str) -> Chunk:
    """From CHUNK_COLUMNS."""
    chunk_id, ordinal, start, end, text, page, headings, context = row
    return Chunk(
        unescape(chunk_id), doc_id, version, ordinal, start, end, unescape(text), page, tuple(json.loads(headings)),
        unescape(context),
    )  # fmt: skip


def stored_chunk(row: Row) -> StoredChunk:
    """From CHUNK_COLUMNS and INFO_COLUMNS."""
    info = document_info(row[8:])
    return StoredChunk(chunk(row[:8], info.doc_id, info.version), info)


def edition_texts(embedder: EmbedderInfo, chunking: Chunking) -> tuple[str, str]:
    """How an edition's embedder and chunking are stored."""
    return json.dumps(asdict(embedder)), json.dumps(asdict(chunking))


def edition(row: Sequence[Any]) -> Edition:
    """number, embedder, chunking, documents, chunks, created_at, token_code."""
    number, embedder, chunking, *rest = row
    return Edition(number, EmbedderInfo(**json.loads(embedder)), Chunking(**json.loads(chunking)), *rest)


def _value(value: Scalar | list[Scalar]) -> MetadataValue:
    if isinstance(value, list):
        return tuple(_value(member) for member in value)  # type: ignore[return-value]  # one type a list
    return unescape(value) if isinstance(value, str) else value

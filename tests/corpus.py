"""Small documents made on the spot, for tests of stores and of what stands on them."""

from collections.abc import Mapping, Sequence

from retrieval.ports import Replacement
from retrieval.records import Chunk, Document, MetadataValue, SourceRecord, chunk_id
from tests.fakes import FakeEmbedder


def source_of(doc_id: str, **changes: object) -> SourceRecord:
    """A ledger line of an ingested document."""
    values: dict[str, object] = {
        "source_uri": f"file:///docs/{doc_id}", "status": "ingested", "doc_id": doc_id, "content_hash": "c0ffee",
        "fingerprint": "test/1", "size": 10, **changes,
    }  # fmt: skip
    return SourceRecord(**values)  # type: ignore[arg-type]


def replacement(
    doc_id: str,
    texts: Sequence[str],
    metadata: Mapping[str, MetadataValue] | None = None,
    *,
    embedder: FakeEmbedder | None = None,
    title: str = "",
) -> Replacement:
    """A document of one chunk for each of `texts`, joined by blank lines; with token vectors if `embedder` has them."""
    document = Document(
        doc_id=doc_id,
        source_uri=f"file:///docs/{doc_id}",
        title=title or f"Title of {doc_id}",
        media_type="text/plain",
        text="\n\n".join(texts),
        metadata=metadata or {},
    )
    chunks, start = [], 0
    for i, text in enumerate(texts):
        chunks.append(
            Chunk(chunk_id(doc_id, i), doc_id, document.version, i, start, start + len(text), text, context=title)
        )
        start += len(text) + 2
    embedder = embedder or FakeEmbedder()
    vectors, blobs = embedder.embed_documents_with_tokens([chunk.indexed_text for chunk in chunks])
    return Replacement(document, chunks, vectors, source_of(doc_id), token_vectors=blobs if embedder.token_code else ())

"""One document or source by the names that people give it."""

from collections.abc import Iterator

import pytest

from ingest.naming import find
from ingest.sources import doc_id_for, uri_for
from retrieval.build import build_collections
from retrieval.errors import DocumentNotFound, InvalidRequest
from retrieval.ports import Replacement, VectorStore
from retrieval.records import Chunk, Document, SourceRecord, SourceStatus, chunk_id
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

HERE = uri_for("pumps.md")
URIS = (HERE, "file:///srv/a/valves.md", "file:///srv/b/valves.md", "https://example.org/M%C3%BCde.html?page=1")


def line(uri: str, status: SourceStatus, doc_id: str = "") -> SourceRecord:
    return SourceRecord(uri, status, doc_id or doc_id_for(uri), "c0ffee", "test/1", 10, error="why")


def made(uri: str) -> Replacement:
    document = Document(doc_id_for(uri), uri, "", "text/plain", "Text.")
    chunk = Chunk(chunk_id(document.doc_id, 0), document.doc_id, document.version, 0, 0, 5, "Text.")
    return Replacement(document, [chunk], FakeEmbedder().embed_documents(["Text."]), line(uri, "ingested"))


@pytest.fixture
def store() -> Iterator[VectorStore]:
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    opened = collections.open("c", writable=True)
    opened.replace([made(uri) for uri in URIS])
    opened.record([line("file:///srv/b/broken.pdf", "failed"), line("file:///srv/b/gone.md", "deleted", "0123abcd")])
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        (doc_id_for(HERE), HERE),
        (HERE, HERE),
        ("pumps.md", HERE),
        ("a/valves.md", "file:///srv/a/valves.md"),
        ("./a/valves.md", "file:///srv/a/valves.md"),
        ("/srv/a/valves.md", "file:///srv/a/valves.md"),
        ("Müde.html", "https://example.org/M%C3%BCde.html?page=1"),
    ],
)
def test_documents_have_several_names(store: VectorStore, name: str, uri: str) -> None:
    """With the ledger's line of the source."""
    with store.snapshot() as snapshot:
        found = find(snapshot, name)
    assert found.document is not None
    assert found.document.source_uri == uri
    assert found.source == line(uri, "ingested")


@pytest.mark.parametrize(
    ("name", "status"),
    [("broken.pdf", "failed"), ("file:///srv/b/broken.pdf", "failed"), ("/srv/b/gone.md", "deleted"),
     ("0123abcd", "deleted"), ("gone.md", "deleted")],
)  # fmt: skip
def test_sources_without_a_document_are_found_in_the_ledger(store: VectorStore, name: str, status: str) -> None:
    """What failed or was deleted is known by the same names."""
    with store.snapshot() as snapshot:
        found = find(snapshot, name)
    assert found.document is None
    assert found.source is not None
    assert found.source.status == status


def test_a_name_of_several_is_refused(store: VectorStore) -> None:
    """Both are named, so that the caller can choose."""
    with store.snapshot() as snapshot, pytest.raises(InvalidRequest, match=r"names 2 documents.*a/valves.*b/valves"):
        find(snapshot, "valves.md")


@pytest.mark.parametrize("name", ["alves.md", "nothing", "valves", "\udcff.md", "file:///srv", "%"])
def test_a_name_of_none_is_an_error(store: VectorStore, name: str) -> None:
    """A part of a name is not the name, and bytes that are no text name nothing."""
    with store.snapshot() as snapshot, pytest.raises(DocumentNotFound, match="no document and no source"):
        find(snapshot, name)


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused(store: VectorStore, name: str) -> None:
    """It would be the working folder."""
    with store.snapshot() as snapshot, pytest.raises(InvalidRequest, match="is empty"):
        find(snapshot, name)

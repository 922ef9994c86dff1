"""Whole runs over places other than folders: what is found, fetched and unpacked there ends as documents."""

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ingest.events import Report
from ingest.pipeline import Options, ingest
from ingest.settings import IngestSettings
from retrieval.build import build_collections, build_embedders
from retrieval.ports import VectorStore
from retrieval.settings import RetrievalSettings
from tests import servers
from tests.fakes import FakeEmbedder
from tests.servers import Request, Site

SETTINGS = IngestSettings(workers=0, http_delay=0, http_allow_private=True)
PRUNE = Options(prune=True)


@pytest.fixture
def store() -> Iterator[VectorStore]:
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    with_documents = collections.open("c", writable=True)
    yield with_documents
    with_documents.close()


@pytest.fixture
def site() -> Iterator[Site]:
    with servers.web() as running:
        yield running


def run(store: VectorStore, *arguments: str, options: Options | None = None, settings: object = SETTINGS) -> Report:
    embedders = build_embedders(RetrievalSettings(), FakeEmbedder())
    return ingest(arguments, store=store, embedders=embedders, settings=settings, options=options)  # type: ignore[arg-type]


def texts(store: VectorStore) -> dict[str, str]:
    """Stored text by the last part of the URI."""
    with store.snapshot() as snapshot:
        found = snapshot.documents(limit=100)
        return {info.source_uri.rpartition("/")[2]: snapshot.document(info.doc_id).text for info in found}


def listed(site: Site, *names: str) -> None:
    """A sitemap of these pages, and the pages, which tell whether they have changed."""
    pages = "".join(f"<url><loc>{site.url}/{name}</loc></url>" for name in names)
    site.page("/sitemap.xml", f"<urlset>{pages}</urlset>".encode())
    for name in names:

        def answer(request: Request, name: str = name) -> None:
            same = request.headers.get("If-None-Match") == '"1"'
            request.reply(304 if same else 200, b"" if same else f"Page {name}.".encode(), etag='"1"')

        site.pages[f"/{name}"] = answer


def test_a_site_is_mirrored(site: Site, store: VectorStore) -> None:
    """By its sitemap: pages come, stay without being sent again, and go when it does not list them any more."""
    listed(site, "a.txt", "b.txt")
    assert run(store, f"{site.url}/sitemap.xml").ingested == 2
    again = run(store, f"{site.url}/sitemap.xml")
    assert (again.unchanged, again.chunks, site.asked("/a.txt")) == (2, 0, 2)
    listed(site, "b.txt", "c.txt")
    run(store, f"{site.url}/sitemap.xml", options=PRUNE)
    assert texts(store) == {"b.txt": "Page b.txt.", "c.txt": "Page c.txt."}


def test_a_site_that_is_down_keeps_its_documents(site: Site, store: VectorStore) -> None:
    """Nothing is known about its pages then, whatever is to be pruned."""
    listed(site, "a.txt", "b.txt")
    run(store, f"{site.url}/sitemap.xml")
    site.page("/sitemap.xml", status=500)
    report = run(store, f"{site.url}/sitemap.xml", options=PRUNE)
    assert not report.complete
    assert sorted(texts(store)) == ["a.txt", "b.txt"]


def test_a_page_is_no_folder(site: Site, store: VectorStore) -> None:
    """Ingesting one page does not prune others of its site."""
    listed(site, "a.txt", "b.txt")
    run(store, f"{site.url}/a.txt", f"{site.url}/b.txt")
    run(store, f"{site.url}/a.txt", options=PRUNE)
    assert sorted(texts(store)) == ["a.txt", "b.txt"]


def test_an_archive_from_the_web_is_unpacked(site: Site, store: VectorStore) -> None:
    """Its members are documents below its URL."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("d/a.txt", "Member A.")
    site.page("/docs", packed.getvalue(), content_disposition='attachment; filename="docs.zip"')
    run(store, f"{site.url}/docs")
    assert texts(store) == {"a.txt": "Member A."}


def test_a_bucket_is_mirrored(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """New, unchanged, changed and deleted objects."""
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with servers.s3() as url:
        client = boto3.client("s3", endpoint_url=url)
        client.create_bucket(Bucket="papers")
        for name in ("a", "b", "c"):
            client.put_object(Bucket="papers", Key=f"docs/{name}.txt", Body=f"Paper {name}.".encode())
        settings = SETTINGS.model_copy(update={"s3_endpoint_url": url})
        assert run(store, "s3://papers/docs", settings=settings).ingested == 3
        assert run(store, "s3://papers/docs", settings=settings).unchanged == 3
        client.put_object(Bucket="papers", Key="docs/a.txt", Body=b"Paper a, revised.")
        client.delete_object(Bucket="papers", Key="docs/b.txt")
        report = run(store, "s3://papers/docs", settings=settings, options=PRUNE)
    assert (report.ingested, report.unchanged) == (1, 1)
    assert texts(store) == {"a.txt": "Paper a, revised.", "c.txt": "Paper c."}


def test_standard_input_is_replaced_by_name(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same name is the same document."""
    for text in ("First.", "Second."):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        run(store, "-", options=Options(stdin_name="notes.txt"))
    assert texts(store) == {"stdin:notes.txt": "Second."}


def test_sidecars_reach_the_documents(store: VectorStore, tmp_path: Path) -> None:
    """As fields to filter by; a change of them is a change of the document."""
    (tmp_path / "a.txt").write_text("Text.")
    for year in (2023, 2024):
        (tmp_path / "a.txt.metadata.json").write_text(json.dumps({"metadataAttributes": {"year": year}}))
        run(store, str(tmp_path))
        with store.snapshot() as snapshot:
            (info,) = snapshot.documents(limit=10)
        assert info.metadata["year"] == year

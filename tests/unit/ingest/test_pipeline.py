"""One run over some files, read within this process, with a fake embedder and the memory store."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import chunking, writing
from ingest.ahead import ahead
from ingest.events import Discovered, Embedded, Event, Finished
from ingest.indexing import Indexer
from ingest.pipeline import ingest, ingest_documents
from ingest.settings import IngestSettings
from retrieval.build import build_collections, build_embedders
from retrieval.errors import SourceNotFound
from retrieval.ports import Embedder, Vectors, VectorStore
from retrieval.records import Chunking, Document, Edition, EmbedderInfo
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

SETTINGS = IngestSettings(workers=0)
FAKES = build_embedders(RetrievalSettings(), FakeEmbedder())


class CountingEmbedder(FakeEmbedder):
    """Remembers how many texts it has embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return super().embed_documents(texts)


@pytest.fixture
def store() -> Iterator[VectorStore]:
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    opened = collections.open("c", writable=True)
    yield opened
    opened.close()


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("The pump starts at 40 bar.")
    (tmp_path / "b.md").write_text("# Valves\n\nThe valve opens at noon.")
    return tmp_path


def texts(store: VectorStore) -> dict[str, str]:
    """Stored text by file name."""
    with store.snapshot() as snapshot:
        return {info.source_uri.rsplit("/", 1)[1]: snapshot.document(info.doc_id).text for info in snapshot.documents()}


def test_files_become_documents_with_ledger_lines(store: VectorStore, papers: Path) -> None:
    """Text, chunks, one line each, and events that tell the truth."""
    events: list[Event] = []
    report = ingest([papers], store=store, embedders=FAKES, settings=SETTINGS, on_event=events.append)
    assert (report.files, report.ingested, report.complete, report.chunks) == (2, 2, True, 2)
    assert texts(store)["a.txt"] == "The pump starts at 40 bar."
    assert Discovered(2, 60) in events
    assert sum(event.chunks for event in events if isinstance(event, Embedded)) == 2
    assert [event.name for event in events if isinstance(event, Finished)] == ["a.txt", "b.md"]
    with store.snapshot() as snapshot:
        lines = snapshot.sources()
    assert [(line.status, line.chunks, len(line.content_hash)) for line in lines] == [("ingested", 1, 64)] * 2
    assert all(line.recorded_at and "metadata:none" in line.fingerprint for line in lines)


def test_nothing_is_embedded_twice(store: VectorStore, papers: Path) -> None:
    """A second run leaves all alone; a changed file alone is processed."""
    embedder = CountingEmbedder()
    ingest([papers], store=store, embedders=build_embedders(RetrievalSettings(), embedder), settings=SETTINGS)
    (papers / "a.txt").touch()
    again = ingest([papers], store=store, embedders=build_embedders(RetrievalSettings(), embedder), settings=SETTINGS)
    assert (again.ingested, again.unchanged, embedder.texts) == (0, 2, 2)
    (papers / "a.txt").write_text("The pump starts at 55 bar.")
    assert (
        ingest(
            [papers], store=store, embedders=build_embedders(RetrievalSettings(), embedder), settings=SETTINGS
        ).ingested
        == 1
    )
    assert (texts(store)["a.txt"], embedder.texts) == ("The pump starts at 55 bar.", 3)


@pytest.mark.parametrize("change", ["chunking", "parser", "metadata"])
def test_another_way_of_processing_processes_again(
    store: VectorStore, papers: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The fingerprint covers parser and given metadata; chunking is the edition's, whatever the settings say now."""
    ingest([papers], store=store, embedders=FAKES, settings=SETTINGS)
    settings, metadata, expected = SETTINGS, {}, 2
    if change == "chunking":
        settings, expected = IngestSettings(workers=0, chunk_tokens=100), 0
    elif change == "parser":
        monkeypatch.setattr("ingest.loaders.markdown.VERSION", 999)
        expected = 1
    else:
        metadata = {"year": 2023}
    report = ingest([papers], store=store, embedders=FAKES, settings=settings, metadata=metadata)
    assert report.ingested == expected


def test_a_failure_is_recorded_and_keeps_the_former_version(store: VectorStore, papers: Path) -> None:
    """The run goes on; the document stays as it was; a mended file is taken the next time."""
    ingest([papers], store=store, embedders=FAKES, settings=SETTINGS)
    (papers / "a.txt").write_bytes(b"")
    (papers / "c.txt").write_text("One more.")
    report = ingest([papers], store=store, embedders=FAKES, settings=SETTINGS)
    assert (report.ingested, [failure.name for failure in report.failures]) == (1, ["a.txt"])
    assert texts(store)["a.txt"] == "The pump starts at 40 bar."
    with store.snapshot() as snapshot:
        (line,) = snapshot.sources(status="failed")
    assert "a.txt" in line.error
    (papers / "a.txt").write_text("The pump starts at 40 bar.")
    assert ingest([papers], store=store, embedders=FAKES, settings=SETTINGS).complete


def test_a_fault_of_our_own_costs_one_file(
    store: VectorStore, papers: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a chunker raises is recorded for the file, logged with its traceback, and the run goes on."""
    split = chunking.split

    def faulty(document: Document, **options: object) -> object:
        if document.source_uri.endswith("a.txt"):
            raise RecursionError("too deep")
        return split(document, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(chunking, "split", faulty)
    report = ingest([papers], store=store, embedders=FAKES, settings=SETTINGS)
    assert report.ingested == 1
    assert report.failures[0].error.startswith("'a.txt': internal error RecursionError: too deep (test_pipeline.py:")
    assert "Traceback" in caplog.text


def test_a_missing_argument_stops_before_anything_is_done(store: VectorStore, papers: Path) -> None:
    """One wrong path among good ones: nothing is half done."""
    with pytest.raises(SourceNotFound, match="nowhere"):
        ingest([papers, papers / "nowhere"], store=store, embedders=FAKES, settings=SETTINGS)
    assert texts(store) == {}


def test_many_documents_are_written_in_batches(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is one commit; all documents arrive, each with its own vectors."""
    monkeypatch.setattr(writing, "BATCH_CHUNKS", 10)
    documents = [Document(f"d{n:03d}", f"x:{n}", f"t{n}", "text/plain", f"word{n} pump") for n in range(95)]
    report = ingest_documents(iter(documents), store=store, embedders=FAKES)
    assert (report.ingested, report.chunks) == (95, 95)
    with store.snapshot() as snapshot:
        assert snapshot.info.sequence == 10
        (stored,) = snapshot.chunks(["d042:000000"])
        expected = FakeEmbedder().embed_documents([stored.chunk.indexed_text])[0]
        assert (snapshot.vectors(["d042:000000"])[0] == expected).all()


def test_working_ahead_keeps_order_and_passes_errors_on() -> None:
    """All items before the error come first."""

    def items() -> Iterator[int]:
        yield from range(50)
        raise OSError("disk")

    iterator = ahead(items(), size=4)
    assert [next(iterator) for _ in range(50)] == list(range(50))
    with pytest.raises(OSError, match="disk"):
        next(iterator)


def test_working_ahead_is_bounded_and_stops() -> None:
    """No more than `size` items wait; a consumer that leaves ends the thread."""
    made = []

    def items() -> Iterator[int]:
        for n in range(1000):
            made.append(n)
            yield n

    iterator = ahead(items(), size=4)
    assert next(iterator) == 0
    time.sleep(0.2)
    assert len(made) <= 7
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prepare"]


def test_a_switch_in_the_middle_of_a_run_is_followed(
    store: VectorStore, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cut and embedded for the former edition is made again for the new one; nothing is lost."""
    fake, other = FakeEmbedder(), FakeEmbedder(dimension=32, name="other")
    small = Chunking(chunk_tokens=8, context_tokens=0)
    (papers / "c.txt").write_text("The pump has a filter. " * 8)

    class Both:
        def of(self, info: EmbedderInfo) -> Embedder:
            return next(one for one in (fake, other) if one.info == info)

    assert store.add_edition(embedder=other.info, chunking=small) == 2
    events: list[Event] = []

    def switch(event: Event) -> None:
        events.append(event)
        if isinstance(event, Embedded) and store_is_at(store) == 1:
            with store.snapshot(edition=2) as snapshot:
                missing = [info.doc_id for info in snapshot.documents(unindexed=True)]
                again = snapshot.contents(missing)
            indexer = Indexer(edition_of(store, 2), Both())
            remade = []
            for one in again:
                chunks = indexer.split(one.document)
                remade.append(replace(one, chunks=chunks, vectors=indexer.embed(chunks).vectors))
            store.index(remade, edition=2)
            store.switch(2)

    monkeypatch.setattr(writing, "BATCH_CHUNKS", 1)
    report = ingest([papers], store=store, embedders=Both(), settings=SETTINGS, on_event=switch)
    assert (report.ingested, report.failures) == (3, [])
    with store.snapshot() as snapshot:
        assert (snapshot.info.live, snapshot.info.documents, snapshot.info.edition.documents) == (2, 3, 3)
        (long,) = [info for info in snapshot.documents() if info.source_uri.endswith("c.txt")]
        (content,) = snapshot.contents([long.doc_id])
        assert len(content.chunks) > 4
        assert content.vectors.shape == (len(content.chunks), 32)
        assert content.source is not None
        assert content.source.chunks == len(content.chunks)
    finished = [event for event in events if isinstance(event, Finished)]
    assert len(finished) == 3


def store_is_at(store: VectorStore) -> int:
    """The live edition."""
    with store.snapshot() as snapshot:
        return snapshot.info.live


def edition_of(store: VectorStore, number: int) -> Edition:
    """What the store says of an edition."""
    with store.snapshot(edition=number) as snapshot:
        return snapshot.info.edition

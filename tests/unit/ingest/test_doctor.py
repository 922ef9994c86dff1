"""The doctor finds what does not fit between documents, chunks and ledger, and mends it from the text."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import chunking
from ingest.doctor import checkup, reconciliation
from ingest.doctor.checkup import Report
from ingest.planning import plan
from ingest.sources import Source, doc_id_for
from retrieval.build import build_collections, build_embedders
from retrieval.errors import CollectionNotFound, EmbedderMismatch
from retrieval.ports import Embedder, Replacement, Snapshot, VectorStore
from retrieval.records import Chunking, Document, EmbedderInfo, SourceRecord
from retrieval.settings import RetrievalSettings
from retrieval.stores.faiss import FaissCollections
from tests import postgres
from tests.contract.test_random_operations import seen
from tests.fakes import FakeEmbedder

CHUNKING = Chunking(chunk_tokens=12, context_tokens=4)
TEXT = " ".join(f"Sentence number {i} is about pumps and valves." for i in range(12))


class Embedders:
    """Those that the tests use; the last one can be taken away."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def of(self, info: EmbedderInfo) -> Embedder:
        if info.name not in self.names:
            raise EmbedderMismatch(f"no {info.name!r} here")
        return FakeEmbedder(info.dimension, name=info.name)


BOTH = Embedders("fake", "wide")


def made(name: str, text: str = TEXT, *, embedder: FakeEmbedder | None = None, parent: str = "") -> Replacement:
    embedder = embedder or FakeEmbedder()
    uri = f"file:///docs/{name}"
    document = Document(doc_id_for(uri), uri, name, "text/plain", f"{name}. {text}")
    chunks = chunking.split(document, tokenizer=embedder.tokenizer, window=embedder.info.window, settings=CHUNKING)
    line = SourceRecord(
        uri, "ingested", document.doc_id, "c0ffee", "text/1 metadata:none", 10, "text/plain", len(chunks),
        validator="v1", version=document.version, parent=parent, attempts=1,
    )  # fmt: skip
    vectors, blobs = embedder.embed_documents_with_tokens([one.indexed_text for one in chunks])
    return Replacement(document, chunks, vectors, line, token_vectors=blobs if embedder.token_code else ())


@pytest.fixture
def collections(tmp_path: Path) -> FaissCollections:
    """Six documents, indexed in two editions."""
    opened = FaissCollections(tmp_path)
    opened.create("c", embedder=FakeEmbedder().info, chunking=CHUNKING)
    names = [f"d{i}.txt" for i in range(6)]
    with closing(opened.open("c", writable=True)) as store:
        store.replace([made(name) for name in names])
        wide = FakeEmbedder(96, name="wide")
        number = store.add_edition(embedder=wide.info, chunking=CHUNKING)
        store.index([made(name, embedder=wide) for name in names], edition=number)
    return opened


@pytest.fixture
def store(collections: FaissCollections) -> VectorStore:
    return collections.open("c", writable=True)


def sql(collections: FaissCollections, *statements: str) -> None:
    with closing(sqlite3.connect(collections.root / "c" / "catalog.db")) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
        connection.commit()


def everything(store: VectorStore) -> list[object]:
    views = []
    for number in (1, 2):
        with store.snapshot(edition=number) as snapshot:
            views.append(seen(snapshot))
    return views


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.found}


def line_of(store: VectorStore, name: str) -> SourceRecord:
    with store.snapshot() as snapshot:
        [line] = snapshot.sources(uris=[f"file:///docs/{name}"])
        return line


def is_read_again(snapshot: Snapshot, name: str) -> bool:
    """Whether a sync of the folder takes the source up, though nothing about it has changed."""
    source = Source(f"file:///docs/{name}", name, size=10, validator="v1")
    lines = {line.source_uri: line for line in snapshot.sources()}
    return bool(plan([source], roots=["file:///docs"], lines=lines, given={}, ocr="").steps)


def test_a_healthy_collection(collections: FaissCollections) -> None:
    """Nothing is found, and the report says how much was looked at."""
    report = checkup.examine(collections, "c")
    assert (report.found, report.remaining, report.documents) == ([], [], 6)
    assert report.chunks == 6 * len(made("d0.txt").chunks)


@pytest.mark.parametrize(("characters", "expected"), [(10, [1] * 6), (1_200, [2] * 3), (8 * 2**20, [4, 2])])
def test_long_documents_are_read_a_few_at_a_time(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch, characters: int, expected: list[int]
) -> None:
    """Each of them is looked at, however many fit in memory together."""
    monkeypatch.setattr(reconciliation, "_PAGE", 4)
    monkeypatch.setattr(reconciliation, "_PAGE_CHARACTERS", characters)
    pages: list[int] = []
    assert checkup.examine(collections, "c", on_page=pages.append).found == []
    assert pages == expected


def test_a_ledger_of_failures_archives_and_tombstones_is_healthy(
    collections: FaissCollections, store: VectorStore
) -> None:
    """Sources without a document of their own, on purpose or not, and failures that leave a former version."""
    archive = SourceRecord("file:///docs/a.zip", "ingested", "a", "c0ffee", "archive/1 metadata:none", 10)
    store.record(
        [
            archive,
            replace(archive, source_uri="file:///docs/b.pdf", status="failed", reason="corrupt"),
            replace(archive, source_uri="file:///docs/c.pdf", status="deleted"),
            replace(archive, source_uri="file:///docs/gone.zip!/x", status="deleted", parent="file:///docs/gone.zip"),
            replace(line_of(store, "d1.txt"), status="failed", reason="corrupt", version="0123", chunks=99),
        ]
    )
    store.replace([made("a.zip!/member.txt", parent=archive.source_uri)])
    with store.snapshot(edition=1) as snapshot:
        assert snapshot.documents(unindexed=True) == []
    assert checkup.examine(collections, "c").found == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM vector WHERE chunk_key = (SELECT min(chunk_key) FROM chunk WHERE edition = {0})",
        "UPDATE vector SET value = zeroblob(length(value)) "
        "WHERE chunk_key IN (SELECT chunk_key FROM chunk WHERE edition = {0})",
        "UPDATE vector SET value = x'00' WHERE chunk_key = (SELECT min(chunk_key) FROM chunk WHERE edition = {0})",
        "DELETE FROM chunk WHERE edition = {0} AND ordinal = 2",
        "DELETE FROM chunk WHERE edition = {0} AND ordinal = (SELECT max(ordinal) FROM chunk)",
        "DELETE FROM indexed WHERE edition = {0} AND doc_key = 2",
        "UPDATE chunk SET text = 'forged' WHERE edition = {0} AND ordinal = 0",
        "UPDATE chunk SET start = start + 1 WHERE edition = {0} AND ordinal = 1",
        "UPDATE chunk SET ordinal = ordinal + 1 WHERE edition = {0} AND doc_key = 3",
        "UPDATE chunk SET chunk_id = 'x' WHERE edition = {0} AND ordinal = 1 AND doc_key = 3",
    ],
)
@pytest.mark.parametrize("edition", [1, 2])
def test_chunks_and_vectors_are_made_again_from_the_text(
    collections: FaissCollections, store: VectorStore, damage: str, edition: int
) -> None:
    """In the edition that lacks them; the other one keeps what it has, and all results are as before."""
    before = everything(store)
    sql(collections, damage.format(edition))
    assert checkup.examine(collections, "c").remaining
    report = checkup.repair(collections, "c", BOTH)
    assert report.found
    assert (report.remaining, report.to_ingest) == ([], [])
    assert set(report.mended) == set(report.found)
    if edition == 2 and "indexed" in damage:  # what is not live may lack a document
        store.index([made("d1.txt", embedder=FakeEmbedder(96, name="wide"))], edition=2)
    assert everything(store) == before


def test_token_vectors_are_made_again_from_the_text(collections: FaissCollections, store: VectorStore) -> None:
    """In the edition that lacks some; the others keep what they have."""
    tokens = FakeEmbedder(32, name="tokens", token_code="fake-1")
    number = store.add_edition(embedder=tokens.info, chunking=CHUNKING, token_code="fake-1")
    store.index([made(f"d{i}.txt", embedder=tokens) for i in range(6)], edition=number)
    before = everything(store), blobs(store, number)
    sql(
        collections,
        "DELETE FROM token_vector WHERE chunk_key IN (SELECT chunk_key FROM chunk WHERE doc_key IN (2, 3))",
        "INSERT INTO token_vector SELECT chunk_key, x'00' FROM chunk WHERE edition = 1 AND doc_key = 4",
    )
    report = checkup.repair(collections, "c", build_embedders(RetrievalSettings(), tokens))
    assert kinds(report) == {"missing-token-vectors", "orphan-rows"}
    assert (report.remaining, report.to_ingest) == ([], [])
    assert (everything(store), blobs(store, number)) == before


def blobs(store: VectorStore, edition: int) -> list[list[bytes]]:
    with store.snapshot(edition=edition) as snapshot:
        return [list(one.token_vectors) for one in snapshot.contents([one.doc_id for one in snapshot.documents()])]


def test_without_the_model_what_needs_it_remains(collections: FaissCollections, store: VectorStore) -> None:
    """The rest is mended, and nothing is lost that was there."""
    sql(
        collections,
        "DELETE FROM vector WHERE chunk_key = (SELECT min(chunk_key) FROM chunk WHERE edition = 2)",
        "UPDATE meta SET value = 77 WHERE name = 'documents'",
    )
    report = checkup.repair(collections, "c", Embedders("fake"))
    assert {finding.kind for finding in report.remaining} == {"missing-vector"}
    assert {finding.kind for finding in report.mended} == {"wrong-count"}
    assert checkup.repair(collections, "c", BOTH).remaining == []


def test_a_text_that_is_not_what_was_ingested_is_read_again(collections: FaissCollections, store: VectorStore) -> None:
    """It cannot be mended from itself: it stays, is told of, and the next sync takes the source up."""
    sql(collections, "UPDATE content SET text = text || ' forged' WHERE doc_key = 2")
    report = checkup.repair(collections, "c", BOTH)
    assert kinds(report) == {"wrong-text"}
    assert report.remaining == report.found
    assert report.to_ingest == ["file:///docs/d1.txt"]
    line = line_of(store, "d1.txt")
    assert (line.status, line.reason) == ("failed", "damaged")
    assert "hashes to" in line.error
    with store.snapshot() as snapshot:
        assert is_read_again(snapshot, "d1.txt")
    store.replace([made("d1.txt")])
    assert kinds(checkup.examine(collections, "c")) == set()


def test_a_lost_text_takes_its_document_along(collections: FaissCollections, store: VectorStore) -> None:
    """The store removes what it cannot read any more, and the ledger asks for the source."""
    sql(collections, "DELETE FROM content WHERE doc_key = 2")
    report = checkup.repair(collections, "c", BOTH)
    assert kinds(report) == {"missing-text", "missing-document"}
    assert (report.remaining, report.to_ingest) == ([], ["file:///docs/d1.txt"])
    with store.snapshot() as snapshot:
        assert is_read_again(snapshot, "d1.txt")
        assert len(snapshot.documents()) == 5


Change = Callable[[SourceRecord], SourceRecord]


@pytest.mark.parametrize(
    "change",
    [
        lambda line: replace(line, version="0123456789abcdef"),
        lambda line: replace(line, doc_id="another"),
        lambda line: replace(line, media_type="application/pdf"),
    ],
)
def test_a_line_that_does_not_fit_its_document_asks_for_the_source(
    collections: FaissCollections, store: VectorStore, change: Change
) -> None:
    """Nobody can say which of the two is right but the source."""
    store.record([change(line_of(store, "d1.txt"))])
    found = checkup.examine(collections, "c").found
    assert ("wrong-line", "file:///docs/d1.txt") in {(finding.kind, finding.subject) for finding in found}
    report = checkup.repair(collections, "c", BOTH)
    assert (report.remaining, report.to_ingest) == ([], ["file:///docs/d1.txt"])
    with store.snapshot() as snapshot:
        assert is_read_again(snapshot, "d1.txt")


def test_the_ledger_counts_the_chunks_of_the_edition_of_its_time(
    collections: FaissCollections, store: VectorStore
) -> None:
    """Another edition has others, and is no damage when it is live."""
    line = line_of(store, "d1.txt")
    store.record([replace(line, chunks=line.chunks + 1)])
    assert checkup.examine(collections, "c").found == []


def test_a_last_chunk_that_is_missing_leaves_text_in_no_chunk(
    collections: FaissCollections, store: VectorStore
) -> None:
    """Also where no index remembers it: its document has just been put."""
    store.replace([made("fresh.txt")])
    before = everything(store)
    last = "FROM chunk WHERE edition = 1 AND chunk_key = (SELECT max(chunk_key) FROM chunk)"
    sql(collections, f"DELETE FROM vector WHERE chunk_key IN (SELECT chunk_key {last})", f"DELETE {last}")
    sql(collections, "UPDATE edition SET chunks = chunks - 1 WHERE number = 1")
    report = checkup.repair(collections, "c", BOTH)
    assert (kinds(report), report.remaining) == ({"missing-chunks"}, [])
    assert everything(collections.open("c")) == before


def test_a_document_without_a_line_gets_one(collections: FaissCollections, store: VectorStore) -> None:
    """It says what there is, and lets the next sync look at the source."""
    sql(collections, "DELETE FROM source WHERE source_uri LIKE '%d1.txt'")
    report = checkup.repair(collections, "c", BOTH)
    assert (kinds(report), report.remaining) == ({"missing-line"}, [])
    line = line_of(store, "d1.txt")
    assert (line.status, line.version, line.chunks) == (
        "ingested",
        made("d1.txt").document.version,
        len(made("d1.txt").chunks),
    )
    with store.snapshot() as snapshot:
        assert is_read_again(snapshot, "d1.txt")


def test_a_line_without_its_document_asks_for_the_source(collections: FaissCollections, store: VectorStore) -> None:
    """What was acknowledged must not be missing in silence."""
    line = line_of(store, "d1.txt")
    store.delete([line.doc_id], leave=[line])
    report = checkup.repair(collections, "c", BOTH)
    assert (kinds(report), report.remaining) == ({"missing-document"}, [])
    assert report.to_ingest == ["file:///docs/d1.txt"]
    assert line_of(store, "d1.txt").version == ""


def test_what_came_in_a_message_asks_for_the_message(collections: FaissCollections, store: VectorStore) -> None:
    """A child whose parent the ledger has lost would follow nothing, and stay for ever."""
    parent = "file:///docs/mail.eml"
    store.replace([made("mail.eml!/a.txt", parent=parent)])
    report = checkup.repair(collections, "c", BOTH)
    assert (kinds(report), report.remaining, report.to_ingest) == ({"missing-parent"}, [], [parent])
    with store.snapshot() as snapshot:
        assert is_read_again(snapshot, "mail.eml")


def test_what_was_deleted_does_not_come_back(collections: FaissCollections, store: VectorStore) -> None:
    """A document beside its tombstone goes again, and the tombstone stays."""
    store.record([replace(line_of(store, "d1.txt"), status="deleted", version="", chunks=0)])
    report = checkup.repair(collections, "c", BOTH)
    assert (kinds(report), report.remaining) == ({"undead-document"}, [])
    assert line_of(store, "d1.txt").status == "deleted"
    with store.snapshot() as snapshot:
        assert len(snapshot.documents()) == 5


def test_of_two_documents_of_one_source_the_ledger_says_which_stays(
    collections: FaissCollections, store: VectorStore
) -> None:
    """The other one would be cited for ever, whatever becomes of the source."""
    one = made("d1.txt")
    document = replace(one.document, doc_id="another")
    chunks = [replace(chunk, doc_id="another", chunk_id=f"another:{chunk.ordinal:06d}") for chunk in one.chunks]
    store.replace([Replacement(document, chunks, one.vectors)])
    report = checkup.repair(collections, "c", BOTH)
    assert (kinds(report), report.remaining) == ({"duplicate-document"}, [])
    with store.snapshot() as snapshot:
        assert [info.doc_id for info in snapshot.documents() if info.title == "d1.txt"] == [one.document.doc_id]


def test_what_an_ingest_has_put_meanwhile_is_not_overwritten(collections: FaissCollections, store: VectorStore) -> None:
    """Embedding takes a while; the newer document stays."""
    sql(collections, "DELETE FROM vector WHERE chunk_key = (SELECT min(chunk_key) FROM chunk WHERE edition = 1)")

    class Slow(Embedders):
        def of(self, info: EmbedderInfo) -> Embedder:
            store.replace([made("d0.txt", "All of it is new.")])
            return super().of(info)

    class Late(FakeEmbedder):
        def embed_documents(self, texts):  # type: ignore[no-untyped-def]  # as it is
            if texts:
                store.replace([made("d0.txt", "All of it is newer.")])
            return super().embed_documents(texts)

    class Later(Embedders):
        def of(self, info: EmbedderInfo) -> Embedder:
            return Late(info.dimension, name=info.name)

    for embedders in (Later("fake"), Slow("fake", "wide")):
        checkup.repair(collections, "c", embedders)
        with store.snapshot() as snapshot:
            assert "All of it is new" in snapshot.document(doc_id_for("file:///docs/d0.txt")).text
    assert checkup.examine(collections, "c").found == []


def test_a_damaged_segment_and_a_lost_vector_at_once(collections: FaissCollections, store: VectorStore) -> None:
    """What is mended first does not hide what is behind it."""
    store.close()
    before = everything(collections.open("c"))
    for path in (collections.root / "c" / "segments").iterdir():
        (path / "counts.npy").unlink()
    sql(
        collections,
        "DELETE FROM vector WHERE chunk_key = 3",
        "UPDATE edition SET chunks = 1",
        "INSERT INTO content VALUES (99, 'orphan', '[]')",
    )
    report = checkup.repair(collections, "c", BOTH)
    assert report.remaining == []
    assert {"damaged-segment", "missing-vector", "wrong-count", "orphan-rows"} <= kinds(report)
    assert everything(collections.open("c")) == before


def test_tables_that_are_missing_are_filled_from_the_texts(postgres_url: str) -> None:
    """In PostgreSQL each edition has tables of its own: without one of them nothing can be searched."""
    import psycopg

    schema = postgres.schema()
    place = RetrievalSettings(store="pgvector", postgres_url=postgres_url, postgres_schema=schema)
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=FakeEmbedder().info, chunking=CHUNKING)
        store = collections.open("c", writable=True)
        store.replace([made(f"d{i}.txt") for i in range(3)])
        with store.snapshot() as snapshot:
            before = seen(snapshot)
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            [(key,)] = connection.execute(f'SELECT edition_key FROM "{schema}".edition')
            connection.execute(f'DROP TABLE "{schema}".chunk_{key}')
        report = checkup.repair(collections, "c", BOTH)
        assert kinds(report) == {"missing-tables", "unindexed"}
        assert report.remaining == []
        with store.snapshot() as snapshot:
            assert seen(snapshot) == before
        postgres.drop(postgres_url, schema)


def test_a_collection_that_is_not_there(collections: FaissCollections) -> None:
    """As with every command."""
    with pytest.raises(CollectionNotFound):
        checkup.examine(collections, "nobody")

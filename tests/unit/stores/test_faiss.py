"""What is the FAISS store's own: files, other processes, damage. (What all stores share: tests/contract.)"""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from retrieval.errors import CollectionNotFound, StoreCorrupt, StoreTooNew, StoreUnavailable, WriterBusy
from retrieval.records import Chunking
from retrieval.stores.faiss import FaissCollections, catalog, schema
from retrieval.stores.faiss import store as store_module
from tests.corpus import replacement
from tests.fakes import FakeEmbedder
from tests.unit.stores.embedded import fill, found, segments


def test_all_is_there_after_opening_again(collections: FaissCollections) -> None:
    """A closed writer leaves a segment that maps straight into memory."""
    fill(collections, "a", "b")
    assert len(segments(collections)) == 1
    assert found(collections.open("c")) == (["a", "b"], ["a", "b"])


def test_an_open_reader_follows_another_handle(collections: FaissCollections) -> None:
    """Each snapshot shows the last commit: added, replaced, deleted, flushed, merged."""
    reader = collections.open("c")
    assert found(reader) == ([], [])
    writer = collections.open("c", writable=True)
    for n in range(12):  # more commits than the tail may have parts
        writer.replace([replacement(f"d{n:02d}", ["pump"])])
        assert len(found(reader)[1]) == n + 1
    writer.delete(["d00", "d01"])
    assert found(reader)[1] == [f"d{n:02d}" for n in range(2, 12)]
    writer.close()
    assert found(reader)[1] == [f"d{n:02d}" for n in range(2, 12)]


def test_what_was_never_indexed_is_found(collections: FaissCollections) -> None:
    """A writer that died after its commit left no segment: the reader builds the tail from the catalog."""
    writer = collections.open("c", writable=True)
    writer.replace([replacement("a", ["pump"])])
    assert segments(collections) == []
    assert found(collections.open("c")) == (["a"], ["a"])
    writer.close()


@pytest.mark.parametrize("damage", ["folder", "file", "truncated", "foreign"])
def test_lost_or_damaged_segments_are_made_again(collections: FaissCollections, damage: str) -> None:
    """Readers take the catalog instead; the next writer writes the segment anew. Nothing is lost."""
    fill(collections, "a", "b")
    (segment,) = segments(collections)
    if damage == "folder":
        shutil.rmtree(segment)
    elif damage == "file":
        (segment / "positions.npy").unlink()
    elif damage == "truncated":
        (segment / "dense.faiss").write_bytes((segment / "dense.faiss").read_bytes()[:50])
    else:
        (segment / "keys.npy").write_bytes(b"not an array at all")
    assert found(collections.open("c")) == (["a", "b"], ["a", "b"])
    collections.open("c", writable=True).close()
    assert len(segments(collections)) == 1
    assert segments(collections) != [segment]
    assert found(collections.open("c")) == (["a", "b"], ["a", "b"])


def test_a_missing_catalog_is_named(collections: FaissCollections) -> None:
    """Half of the folder is gone: the message says which file and what to do."""
    fill(collections, "a")
    (collections.root / "c" / "catalog.db").unlink()
    with pytest.raises(StoreCorrupt, match=r"catalog\.db is missing; restore it from a backup, or delete"):
        collections.open("c")


@pytest.mark.parametrize("content", [b"junk" * 2000, b"", b"SQLite format 3\0" + b"\0" * 5000])
def test_a_damaged_catalog_is_named(collections: FaissCollections, content: bytes) -> None:
    """Not a database, an empty file, a header with nothing behind it."""
    for path in (collections.root / "c").glob("catalog.db*"):
        path.unlink()
    (collections.root / "c" / "catalog.db").write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"catalog\.db"):
        collections.open("c")


def test_a_store_from_a_newer_version_is_refused(collections: FaissCollections) -> None:
    """It is left as it is; the message says what to upgrade."""
    with sqlite3.connect(collections.root / "c" / "catalog.db") as db:
        db.execute("UPDATE meta SET value = 99 WHERE name = 'schema_version'")
    with pytest.raises(StoreTooNew, match=r"schema version 99.*upgrade Footnote"):
        collections.open("c", writable=True)


@pytest.mark.parametrize("writable", [True, False])
def test_a_collection_of_the_version_before_is_brought_up_to_date(
    collections: FaissCollections, writable: bool
) -> None:
    """By whoever opens it first, several at a time, and while others write; what is there stays as it is."""
    fill(collections, "a", "b")
    with closing(sqlite3.connect(collections.root / "c" / "catalog.db")) as db:
        db.executescript(
            """ALTER TABLE edition DROP COLUMN token_code; DROP TABLE token_vector;
               UPDATE meta SET value = 3 WHERE name = 'schema_version';"""
        )
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: collections.open("c", writable=writable), range(4)))
    for store in opened:
        assert found(store) == (["a", "b"], ["a", "b"])
        with store.snapshot() as snapshot:
            assert [one.token_code for one in snapshot.info.editions] == [""]
            assert snapshot.token_vectors(["a:000000"]) == [b""]
        store.close()
    tokens = FakeEmbedder(token_code="fake-1")
    with closing(collections.open("c", writable=True)) as store:
        number = store.add_edition(embedder=tokens.info, chunking=Chunking(), token_code="fake-1")
        assert store.index([replacement("a", ["pump a", "valve"], embedder=tokens)], edition=number) == 1
    with closing(collections.keeper("c")) as keeper:
        assert list(keeper.check()) == []


def test_a_handle_to_a_dropped_collection_says_so(collections: FaissCollections) -> None:
    """Also when one of the same name was made since: its documents are not the ones that were opened."""
    fill(collections, "a")
    reader = collections.open("c")
    assert found(reader)[1] == ["a"]
    collections.drop("c")
    with pytest.raises(CollectionNotFound, match="was dropped"), reader.snapshot():
        pass
    collections.create("c", embedder=FakeEmbedder().info)
    with pytest.raises(CollectionNotFound, match="was dropped"), reader.snapshot():
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="cannot create"):
        FaissCollections(tmp_path / "data").create("c", embedder=FakeEmbedder().info)


def test_a_folder_without_permission_is_named(collections: FaissCollections, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system's refusal is an error of ours, whoever asks: not a traceback, not an empty list."""

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(StoreUnavailable, match=r"data.*Permission denied; check the disk"):
        collections.names()
    with pytest.raises(StoreUnavailable, match=r"data/c.*Permission denied; check the disk"):
        collections.open("c")


def test_a_drop_leaves_nothing_and_takes_up_what_an_earlier_one_left(collections: FaissCollections) -> None:
    """A drop that was cut off after the collection had lost its name costs no disk for ever."""
    (collections.root / ".dropped-old-1234" / "segments").mkdir(parents=True)
    collections.drop("c")
    assert list(collections.root.iterdir()) == []


def test_a_drop_waits_for_nobody(collections: FaissCollections) -> None:
    """A handle of a dropped collection says so whatever it is asked; a new one of the name is left alone."""
    writer = collections.open("c", writable=True)
    writer.replace([replacement("a", ["pump"])])
    collections.drop("c")
    collections.create("c", embedder=FakeEmbedder().info)
    fill(collections, "b")
    for use in (
        lambda: writer.replace([replacement("a", ["pump"])]),
        lambda: writer.delete(["b"]),
        lambda: writer.add_edition(embedder=FakeEmbedder().info, chunking=Chunking()),
    ):
        with pytest.raises(CollectionNotFound, match="was dropped"):
            use()
    writer.close()
    assert found(collections.open("c")) == (["b"], ["b"])


def test_a_collection_made_anew_while_it_is_opened_is_not_mistaken(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the handle would write to the files of the old one, and say that all is well."""

    def overtaken(path: Path, *, writable: bool) -> catalog.Catalog:
        opened = catalog.Catalog(path, writable=writable)
        monkeypatch.undo()
        collections.drop("c")
        collections.create("c", embedder=FakeEmbedder().info)
        return opened

    monkeypatch.setattr(store_module, "Catalog", overtaken)
    with pytest.raises(CollectionNotFound, match="'c' was dropped since it was opened"):
        collections.open("c", writable=True)
    fill(collections, "a")
    assert found(collections.open("c"))[1] == ["a"]


def test_a_damaged_collection_can_be_dropped(collections: FaissCollections) -> None:
    """The way out that the messages tell: drop it and ingest again."""
    with sqlite3.connect(collections.root / "c" / "catalog.db") as db:
        db.execute("UPDATE meta SET value = 1 WHERE name = 'schema_version'")
    with pytest.raises(StoreCorrupt, match=r"version 1 of an older Footnote.*footnote delete --everything -c c"):
        collections.open("c")
    collections.drop("c")
    assert collections.names() == []


def test_a_writer_that_gets_no_turn_is_told(collections: FaissCollections, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collection is named, and what to do; nothing of the batch is written."""
    monkeypatch.setattr(catalog, "TURN_SECONDS", 0.05)
    store = collections.open("c", writable=True)
    with sqlite3.connect(collections.root / "c" / "catalog.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WriterBusy, match=r"'c' is being written to by another process.*wait for it, or stop it"):
            store.replace([replacement("a", ["pump"])])
        other.execute("ROLLBACK")
    store.replace([replacement("b", ["pump"])])
    assert found(store)[1] == ["b"]
    store.close()


def test_a_disk_that_fills_up_in_a_commit_loses_nothing(collections: FaissCollections) -> None:
    """The commit that has no room is refused whole, with a clear error; the ones before it stand."""
    store = collections.open("c", writable=True)
    store.replace([replacement("a", ["pump"])])
    pages = store._catalog._db.execute("PRAGMA page_count").fetchone()[0]
    store._catalog._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreUnavailable, match=r"catalog\.db cannot be used now: database or disk is full; check"):
        store.replace([replacement("a", ["valve"]), replacement("big", ["pump " * 40_000])])
    assert found(store) == found(collections.open("c")) == (["a"], ["a"])
    store._catalog._db.execute("PRAGMA max_page_count = 1000000")
    store.replace([replacement("b", ["pump"])])
    assert found(store)[1] == ["a", "b"]
    store.close()


def test_a_collection_that_has_no_room_is_not_half_made(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up while the tables are made: a clear error, and nothing is left."""
    monkeypatch.setattr(schema, "_SCHEMA", f"PRAGMA max_page_count = 3; {schema._SCHEMA}")
    with pytest.raises(StoreUnavailable, match="database or disk is full; check the disk"):
        collections.create("d", embedder=FakeEmbedder().info)
    assert [path.name for path in collections.root.iterdir()] == ["c"]


def test_folders_that_no_collection_can_have_as_name_are_not_listed(collections: FaissCollections) -> None:
    """A store may be the root of a disk, where the file system keeps a folder of its own."""
    (collections.root / "lost+found").mkdir()
    assert collections.names() == ["c"]

"""What is the FAISS store's own: files, segments, other processes, damage. (What all stores share: tests/contract.)"""

import fcntl
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.errors import CollectionNotFound, StoreCorrupt, StoreTooNew, StoreUnavailable, WriterBusy
from retrieval.ports import VectorStore
from retrieval.records import Chunking
from retrieval.stores.faiss import FaissCollections, catalog, index_writer, segment
from retrieval.stores.faiss import store as store_module
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

QUERY = FakeEmbedder().embed_queries(["pump"])[0]


@pytest.fixture
def collections(tmp_path: Path) -> FaissCollections:
    made = FaissCollections(tmp_path / "data")
    made.create("c", embedder=FakeEmbedder().info)
    return made


def fill(collections: FaissCollections, *doc_ids: str) -> None:
    store = collections.open("c", writable=True)
    store.replace([replacement(doc_id, [f"pump {doc_id}", "valve"]) for doc_id in doc_ids])
    store.close()


def found(store: VectorStore) -> tuple[list[str], list[str]]:
    """Documents by dense and by lexical search."""
    with store.snapshot() as snapshot:
        dense = [hit.chunk_id for hit in snapshot.search_dense(QUERY, k=1000)]
        lexical = [hit.chunk_id for hit in snapshot.search_lexical({"pump": 1.0}, k=1000)]
    return sorted({i.split(":")[0] for i in dense}), sorted(i.split(":")[0] for i in lexical)


def segments(collections: FaissCollections) -> list[Path]:
    return sorted((collections.root / "c" / "segments").iterdir())


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


def test_files_that_no_commit_knows_are_removed(collections: FaissCollections) -> None:
    """A crash while a segment was written leaves a folder that the next writer clears away."""
    fill(collections, "a")
    orphan = collections.root / "c" / "segments" / ".000000000001-000000000002-0a1b2c3d.partial"
    orphan.mkdir()
    (orphan / "keys.npy").write_bytes(b"x")
    collections.open("c", writable=True).close()
    assert not orphan.exists()
    assert found(collections.open("c")) == (["a"], ["a"])


def test_many_small_runs_leave_few_segments(collections: FaissCollections) -> None:
    """Segments of one size become one, and the results stay the same."""
    for n in range(25):
        fill(collections, f"d{n:02d}")
    assert len(segments(collections)) < index_writer.MERGE_FACTOR
    assert found(collections.open("c"))[1] == [f"d{n:02d}" for n in range(25)]


def test_dead_chunks_leave_the_segments(collections: FaissCollections) -> None:
    """When a good part of a segment is dead, it is written anew without it, and the tombstones go."""
    fill(collections, *(f"d{n}" for n in range(8)))
    writer = collections.open("c", writable=True)
    writer.delete([f"d{n}" for n in range(6)])
    writer.close()
    (segment,) = segments(collections)
    assert len(np.load(segment / "keys.npy")) == 4
    with sqlite3.connect(collections.root / "c" / "catalog.db") as db:
        assert db.execute("SELECT count(*) FROM tombstone").fetchone() == (0,)
    assert found(collections.open("c")) == (["d6", "d7"], ["d6", "d7"])


def test_flushing_in_mid_run_keeps_every_chunk(collections: FaissCollections, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tiny limit, a run of many commits flushes and merges many times under an open reader."""
    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 3)
    reader = collections.open("c")
    writer = collections.open("c", writable=True)
    for n in range(30):
        writer.replace([replacement(f"d{n:02d}", ["pump"]), replacement("same", [f"pump version {n}"])])
        if n % 3 == 0:
            writer.delete([f"d{n:02d}"])
        assert len(found(reader)[1]) == n + 1 - n // 3
    writer.close()
    expected = [f"d{n:02d}" for n in range(30) if n % 3] + ["same"]
    assert found(reader) == found(collections.open("c")) == (expected, expected)


def test_writers_in_threads_do_not_bring_chunks_back(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deletions while another thread merges hold."""
    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 2)
    store = collections.open("c", writable=True)

    def work(name: str) -> None:
        for n in range(15):
            store.replace([replacement(f"{name}{n}", ["pump"])])
            store.delete([f"{name}{n - 1}"])

    threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(store)[1] == ["x14", "y14", "z14"]
    store.close()


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


def test_a_full_disk_loses_no_document(collections: FaissCollections, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit stands though its segment could not be written: the error says so, and a later writer completes it."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 1)
    monkeypatch.setattr("retrieval.stores.faiss.segment.save", full)
    writer = collections.open("c", writable=True)
    with pytest.raises(StoreUnavailable, match="No space left on device; documents are safe"):
        writer.replace([replacement("a", ["pump"])])
    writer.close()  # warns, and does not fail
    assert found(collections.open("c")) == (["a"], ["a"])
    monkeypatch.undo()
    collections.open("c", writable=True).close()
    assert len(segments(collections)) == 1


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


def test_a_damaged_collection_can_be_dropped(collections: FaissCollections) -> None:
    """The way out that the messages tell: drop it and ingest again."""
    with sqlite3.connect(collections.root / "c" / "catalog.db") as db:
        db.execute("UPDATE meta SET value = 1 WHERE name = 'schema_version'")
    with pytest.raises(StoreCorrupt, match=r"version 1 of an older Footnote.*drop collection 'c' and ingest again"):
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


@pytest.mark.parametrize("step", ["flush", "merge"])
def test_what_dies_while_a_segment_is_written_stays_dead(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Another writer replaces, deletes and adds between what is read for a segment and the switch to it."""
    monkeypatch.setattr(index_writer, "MERGE_FACTOR", 2)
    fill(collections, "a", "b", "c")
    other = collections.open("c", writable=True)
    reader = collections.open("c")
    save, saved = segment.save, []

    def interrupted(*arguments: Any) -> None:
        save(*arguments)
        saved.append(arguments)
        if len(saved) == ["flush", "merge"].index(step) + 1:
            other.replace([replacement("a", ["pump again"]), replacement("f", ["pump"])])
            assert other.delete(["b", "e"]) == ["b", "e"]
            assert found(reader)[1] == ["a", "c", "d", "f"]

    monkeypatch.setattr(segment, "save", interrupted)
    writer = collections.open("c", writable=True)
    writer.replace([replacement("d", ["pump", "valve"]), replacement("e", ["pump"])])
    writer.close()
    assert len(saved) >= 2
    for store in (other, reader, collections.open("c")):
        assert found(store)[1] == ["a", "c", "d", "f"]
        with store.snapshot() as snapshot:
            assert [stored.chunk.text for stored in snapshot.chunks(["a:000000"])] == ["pump again"]
        store.close()
    with sqlite3.connect(collections.root / "c" / "catalog.db") as db:
        assert db.execute("SELECT count(*) FROM chunk").fetchone() == (6,)
    assert found(collections.open("c"))[0] == ["a", "c", "d", "f"]


def test_only_one_looks_after_the_index(collections: FaissCollections) -> None:
    """A second writer commits without waiting, leaves the folders alone, and the next one completes the index."""
    lock = (collections.root / "c" / "upkeep.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    unknown = collections.root / "c" / "segments" / "000000000001-000000000002-0a1b2c3d"
    unknown.mkdir()
    fill(collections, "a")
    assert segments(collections) == [unknown]
    assert found(collections.open("c"))[1] == ["a"]
    lock.close()
    collections.open("c", writable=True).close()
    assert len(segments(collections)) == 1
    assert segments(collections) != [unknown]


def test_foreign_files_are_left_alone(collections: FaissCollections) -> None:
    """What somebody put beside the segments is not ours to remove."""
    home = collections.root / "c" / "segments"
    (home / "notes").mkdir()
    (home / "notes" / "mine.txt").write_text("keep")
    (home / "README").write_text("keep")
    fill(collections, "a")
    fill(collections, "b")
    assert (home / "notes" / "mine.txt").read_text() == (home / "README").read_text() == "keep"


def test_a_dropped_edition_leaves_nothing(collections: FaissCollections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go in small commits, folders and the index in memory with them; what a crash left over goes later."""
    monkeypatch.setattr(index_writer, "_PURGE_CHUNKS", 3)
    fill(collections, "a", "b", "c")
    store = collections.open("c", writable=True)
    with store.snapshot() as snapshot:
        everything = snapshot.contents(["a", "b", "c"])
    for edition in (2, 3):
        assert store.add_edition(embedder=FakeEmbedder().info, chunking=Chunking()) == edition
        assert store.index(everything, edition=edition) == 3
    store._upkeep.complete()
    with store.snapshot(edition=2) as snapshot:
        assert len(snapshot.search_dense(QUERY, k=9)) == 6
    assert len(segments(collections)) == 3
    store.drop_edition(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_writer.IndexWriter, "repair", lambda _: None)  # the process ends here
        store.drop_edition(3)
    with store.snapshot():
        assert list(store._followers) == [1]
    store.close()
    collections.open("c", writable=True).close()
    assert len(segments(collections)) == 1
    with sqlite3.connect(collections.root / "c" / "catalog.db") as db:
        for table in ("chunk", "vector", "indexed"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (3 if table == "indexed" else 6,)
        assert db.execute("SELECT count(*) FROM dropped").fetchone() == (0,)
    assert found(collections.open("c")) == (["a", "b", "c"], ["a", "b", "c"])


def test_an_edition_that_nobody_searches_leaves_the_memory(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a switch, only the live one's index is kept; asked again, the other answers again."""
    monkeypatch.setattr(store_module, "_KEEP_SECONDS", 0.0)
    fill(collections, "a")
    store = collections.open("c", writable=True)
    with store.snapshot() as snapshot:
        everything = snapshot.contents(["a"])
    store.add_edition(embedder=FakeEmbedder().info, chunking=Chunking())
    store.index(everything, edition=2)
    store.switch(2)
    assert found(store) == (["a"], ["a"])
    assert list(store._followers) == [2]
    with store.snapshot(edition=1) as snapshot:
        assert len(snapshot.search_dense(QUERY, k=9)) == 2
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


def test_a_large_load_ends_in_one_segment(collections: FaissCollections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote a good part of the collection leaves it quick to search; a small addition does not rewrite it all."""
    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 10)
    fill(collections, *(f"d{n:02d}" for n in range(50)))
    assert len(segments(collections)) == 1
    fill(collections, "e")
    assert len(segments(collections)) == 2
    fill(collections, *(f"f{n:02d}" for n in range(20)))
    assert len(segments(collections)) == 1
    assert len(found(collections.open("c"))[1]) == 71

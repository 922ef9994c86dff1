"""Upkeep of the FAISS store's segments: when they are made, merged and removed, and what may happen meanwhile."""

import fcntl
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.errors import CollectionNotFound, StoreUnavailable
from retrieval.records import Chunking
from retrieval.stores.faiss import FaissCollections, dense, index_writer, segment
from retrieval.stores.faiss import store as store_module
from tests.corpus import replacement
from tests.fakes import FakeEmbedder
from tests.unit.stores.embedded import QUERY, fill, found, segments


def test_many_small_runs_leave_few_segments(collections: FaissCollections) -> None:
    """Segments of one size become one, and the results stay the same."""
    for n in range(25):
        fill(collections, f"d{n:02d}")
    assert len(segments(collections)) < index_writer.MERGE_FACTOR
    assert found(collections.open("c"))[1] == [f"d{n:02d}" for n in range(25)]


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


def test_files_that_no_commit_knows_are_removed(collections: FaissCollections) -> None:
    """A crash while a segment was written leaves a folder that the next writer clears away."""
    fill(collections, "a")
    orphan = collections.root / "c" / "segments" / ".000000000001-000000000002-0a1b2c3d.partial"
    orphan.mkdir()
    (orphan / "keys.npy").write_bytes(b"x")
    collections.open("c", writable=True).close()
    assert not orphan.exists()
    assert found(collections.open("c")) == (["a"], ["a"])


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
    store.upkeep.complete()
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


def test_what_was_written_on_a_full_disk_is_not_left_in_the_way(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a segment may be gigabytes, on a disk that has no room for anything."""

    def full(_: object, folder: Path) -> None:
        (folder / "dense.faiss").write_bytes(b"x" * 1000)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 1)
    monkeypatch.setattr(dense, "save", full)
    writer = collections.open("c", writable=True)
    with pytest.raises(StoreUnavailable, match="No space left on device; documents are safe"):
        writer.replace([replacement("a", ["pump"])])
    assert segments(collections) == []
    assert found(writer) == (["a"], ["a"])
    writer.close()


def test_a_collection_dropped_while_a_segment_is_written_is_gone(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging takes minutes in a large one; what is written then must not bring its folder back."""
    save = segment.save

    def dropped(*arguments: Any) -> None:
        collections.drop("c")
        save(*arguments)

    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 1)
    monkeypatch.setattr(segment, "save", dropped)
    writer = collections.open("c", writable=True)
    with pytest.raises(CollectionNotFound, match="'c' was dropped since it was opened"):
        writer.replace([replacement("a", ["pump"])])
    writer.close()
    assert list(collections.root.iterdir()) == []


def test_upkeep_leaves_a_new_collection_of_the_name_alone(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropped and made anew between a commit and its upkeep: nothing of the old one gets into the new one."""
    writer = collections.open("c", writable=True)
    writer.replace([replacement("old", ["pump"])])
    assert found(writer)[1] == ["old"]

    def meanwhile(*_: object) -> bool:
        monkeypatch.undo()
        collections.drop("c")
        collections.create("c", embedder=FakeEmbedder().info)
        fill(collections, "a", "b")
        return True

    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 1)
    monkeypatch.setattr(index_writer.IndexWriter, "is_due", meanwhile)
    with pytest.raises(CollectionNotFound, match="'c' was dropped since it was opened"):
        writer.replace([replacement("older", ["pump"])])
    writer.close()
    assert found(collections.open("c")) == (["a", "b"], ["a", "b"])


def test_a_segment_merged_away_while_it_is_opened_is_not_taken_for_damaged(
    collections: FaissCollections, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader looks again, instead of building the index of the old one from the catalog."""
    monkeypatch.setattr(index_writer, "MERGE_FACTOR", 2)
    fill(collections, "a", "b", "c")
    load, loaded = dense.load, []

    def overtaken(folder: Path) -> Any:
        loaded.append(folder.name)
        if len(loaded) == 1:
            fill(collections, "d")
            assert not folder.exists()
        return load(folder)

    monkeypatch.setattr(dense, "load", overtaken)
    assert found(collections.open("c")) == (["a", "b", "c", "d"], ["a", "b", "c", "d"])
    assert loaded[-1] == segments(collections)[0].name != loaded[0]
    assert caplog.records == []

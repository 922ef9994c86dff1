"""What is the FAISS store's own: files, segments, other processes, damage. (What all stores share: tests/contract.)"""

import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import CollectionNotFound, StoreCorrupt, StoreTooNew, StoreUnavailable, WriterBusy
from retrieval.ports import VectorStore
from retrieval.stores.faiss import FaissCollections, index_writer
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
    orphan = collections.root / "c" / "segments" / ".half-written.partial"
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


def test_a_collection_that_is_written_to_is_not_dropped(collections: FaissCollections) -> None:
    """What a writer has acknowledged does not go while it writes."""
    writer = collections.open("c", writable=True)
    with pytest.raises(WriterBusy, match="'c' is being written to"):
        collections.drop("c")
    writer.replace([replacement("a", ["pump"])])
    writer.close()
    assert found(collections.open("c")) == (["a"], ["a"])

"""Collections side by side, and several writers and readers of one, in every store."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.errors import (
    CollectionExists,
    CollectionNotFound,
    InvalidRequest,
    WriterBusy,
)
from retrieval.ports import Collections, VectorStore
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

QUERY = FakeEmbedder().embed_queries(["pump"])[0]


def test_writers_take_turns_and_readers_do_not_write(collections: Collections, store: VectorStore) -> None:
    """Two handles write the same collection, each sees what the other wrote; one opened for reading is refused."""
    second = collections.open("c", writable=True)
    reader = collections.open("c")
    store.replace([replacement("a", ["pump one"])])
    second.replace([replacement("b", ["pump two"])])
    store.replace([replacement("b", ["pump two, again"])])
    assert second.delete(["a"]) == ["a"]
    for each in (store, second, reader):
        with each.snapshot() as snapshot:
            assert [info.doc_id for info in snapshot.documents()] == ["b"]
            assert [hit.chunk_id for hit in snapshot.search_lexical({"again": 1.0}, k=5)] == ["b:000000"]
            assert [hit.chunk_id for hit in snapshot.search_dense(QUERY, k=5)] == ["b:000000"]
    for write in (
        lambda: reader.replace([replacement("doc", ["pump"])]),
        lambda: reader.delete(["b"]),
        lambda: reader.record([source_of("b")]),
        lambda: reader.switch(1),
    ):
        with pytest.raises(WriterBusy, match="opened for reading"):
            write()
    second.close()
    reader.close()


def test_many_threads_write_and_nothing_is_lost(collections: Collections, store: VectorStore) -> None:
    """Four handles write at a time; every document is there afterwards, found both ways, and counted once."""

    def write(worker: int) -> None:
        mine = collections.open("c", writable=True)
        for n in range(6):
            mine.replace([replacement(f"w{worker}-{n}", ["pump of this worker"]), replacement(f"shared{n}", ["pump"])])
        mine.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    expected = sorted([f"w{worker}-{n}" for worker in range(4) for n in range(6)] + [f"shared{n}" for n in range(6)])
    with store.snapshot() as snapshot:
        assert [info.doc_id for info in snapshot.documents()] == expected
        for hits in (snapshot.search_dense(QUERY, k=100), snapshot.search_lexical({"pump": 1.0}, k=100)):
            assert sorted(hit.chunk_id.split(":")[0] for hit in hits) == expected
        assert (snapshot.info.documents, snapshot.info.chunks) == (30, 30)


def test_collections_stand_side_by_side(collections: Collections) -> None:
    """Fifty collections with the same document ids share nothing."""
    for i in range(50):
        collections.create(f"tenant-{i:02d}", embedder=FakeEmbedder().info)
        store = collections.open(f"tenant-{i:02d}", writable=True)
        store.replace([replacement("doc", [f"secret {i} pump"])])
        store.close()
    assert collections.names() == [f"tenant-{i:02d}" for i in range(50)]
    for i in (0, 7, 49):
        store = collections.open(f"tenant-{i:02d}")
        with store.snapshot() as snapshot:
            (hit,) = snapshot.search_dense(QUERY, k=10)
            assert snapshot.chunks([hit.chunk_id])[0].chunk.text == f"secret {i} pump"
        store.close()


def test_collections_are_created_opened_and_dropped_by_name(collections: Collections) -> None:
    """Twice, unknown and ill-formed names are refused; a dropped collection is gone."""
    embedder = FakeEmbedder().info
    collections.create("one", embedder=embedder, language="german")
    with pytest.raises(CollectionExists, match="'one'"):
        collections.create("one", embedder=embedder)
    with pytest.raises(CollectionNotFound, match=r"no collection 'two'.*one"):
        collections.open("two")
    for name in ("", "../evil", "UPPER", ".hidden", "a" * 64, "a/b", "a\n"):
        with pytest.raises(InvalidRequest, match="collection name"):
            collections.create(name, embedder=embedder)
    store = collections.open("one")
    with store.snapshot() as snapshot:
        assert (snapshot.info.name, snapshot.info.language, snapshot.info.embedder) == ("one", "german", embedder)
    store.close()
    collections.drop("one")
    assert collections.names() == []
    with pytest.raises(CollectionNotFound):
        collections.drop("one")

"""Editions of a collection: built beside the live one, switched at once, kept for a way back, dropped."""

import threading

import numpy as np
import pytest

from retrieval.errors import EditionChanged, EditionIncomplete, EditionLive, EditionNotFound, EmbedderMismatch
from retrieval.ports import Collections, Replacement, VectorStore
from retrieval.records import Chunking
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

OTHER = FakeEmbedder(dimension=32, name="other")
SMALL = Chunking(chunk_tokens=50)
PUMP = {"pump": 1.0}


def of(store: VectorStore, doc_id: str, texts: list[str] | None = None) -> Replacement:
    """A document as it stands, embedded by the other model and, with `texts`, cut in another way."""
    with store.snapshot() as snapshot:
        document = snapshot.document(doc_id)
    return replacement(doc_id, texts or document.text.split("\n\n"), document.metadata, embedder=OTHER)


def dense(store: VectorStore, edition: int | None = None) -> list[str]:
    embedder = OTHER if edition == 2 else FakeEmbedder()
    with store.snapshot(edition=edition) as snapshot:
        vector = embedder.embed_queries(["pump"])[0]
        return sorted(hit.chunk_id for hit in snapshot.search_dense(vector, k=100))


def lexical(store: VectorStore, edition: int | None = None) -> list[str]:
    with store.snapshot(edition=edition) as snapshot:
        return sorted(hit.chunk_id for hit in snapshot.search_lexical(PUMP, k=100))


def unindexed(store: VectorStore, edition: int) -> list[str]:
    with store.snapshot(edition=edition) as snapshot:
        return [info.doc_id for info in snapshot.documents(unindexed=True)]


@pytest.fixture
def two(store: VectorStore) -> VectorStore:
    """Documents a and b in edition 1, and an edition 2 with nothing in it."""
    store.replace([replacement("a", ["pump one", "pump two"], {"n": 1}), replacement("b", ["pump three"])])
    assert store.add_edition(embedder=OTHER.info, chunking=SMALL) == 2
    return store


def test_a_new_edition_is_empty_and_not_live(two: VectorStore) -> None:
    """Queries go on with the first; the second has all documents unindexed, and knows its model and chunking."""
    assert unindexed(two, 2) == ["a", "b"]
    assert unindexed(two, 1) == []
    assert dense(two) == lexical(two) == ["a:000000", "a:000001", "b:000000"]
    assert dense(two, 2) == lexical(two, 2) == []
    with two.snapshot() as snapshot, two.snapshot(edition=2) as second:
        info = snapshot.info
        assert (info.live, info.edition.number, [one.number for one in info.editions]) == (1, 1, [1, 2])
        assert (info.edition.documents, info.edition.chunks, info.documents) == (2, 3, 2)
        assert second.info.edition == info.editions[1]
        assert (second.info.embedder, second.info.edition.chunking) == (OTHER.info, SMALL)
        assert (second.info.edition.documents, second.info.chunks, second.info.documents) == (0, 0, 2)
        assert info.editions[0].chunking == Chunking()


def test_an_edition_is_filled_and_switched_to(two: VectorStore, collections: Collections) -> None:
    """Chunks of the other edition are searched only after the switch, then only they; statistics are its own."""
    reader = collections.open("c")
    assert two.index([of(two, "a", ["pump one\n\npump two"])], edition=2) == 1
    assert dense(two) == ["a:000000", "a:000001", "b:000000"]
    assert dense(two, 2) == lexical(two, 2) == ["a:000000"]
    with pytest.raises(EditionIncomplete, match="1 of"):
        two.switch(2)
    assert two.index([of(two, "b")], edition=2) == 1
    two.switch(2)
    for each in (two, reader):
        assert lexical(each) == ["a:000000", "b:000000"]
        with each.snapshot() as snapshot:
            assert (snapshot.info.live, snapshot.info.embedder, snapshot.info.chunks) == (2, OTHER.info, 2)
            hits = snapshot.search_dense(OTHER.embed_queries(["pump"])[0], k=9)
            assert snapshot.chunks([hits[0].chunk_id])[0].chunk.chunk_id == hits[0].chunk_id
            assert snapshot.vectors(["a:000000"]).shape == (1, 32)
            assert snapshot.chunks(["a:000001"]) == []
            with pytest.raises(EmbedderMismatch):
                snapshot.search_dense(FakeEmbedder().embed_queries(["pump"])[0], k=1)
    reader.close()
    two.switch(1)
    assert dense(two) == ["a:000000", "a:000001", "b:000000"]


def test_what_is_ingested_meanwhile_is_missing_until_it_is_indexed(two: VectorStore) -> None:
    """A replaced document leaves the other editions at once; what was made of its old text is passed over."""
    old = [of(two, "a"), of(two, "b")]
    assert two.index([of(two, "b")], edition=2) == 1
    two.replace([replacement("a", ["a new pump"]), replacement("c", ["pump four"])])
    two.delete(["b"])
    assert unindexed(two, 2) == ["a", "c"]
    assert two.index(old, edition=2) == 0
    assert lexical(two, 2) == []
    retitled = replacement("c", ["pump four"], title="Another title")
    two.replace([retitled])
    assert two.index([replacement("c", ["pump four"], embedder=OTHER)], edition=2) == 0
    assert two.index([of(two, "a"), replacement("c", ["pump four"], title="Another title", embedder=OTHER)], edition=2)
    two.switch(2)
    assert lexical(two) == ["a:000000", "c:000000"]
    assert unindexed(two, 1) == []


def test_indexing_twice_is_indexing_once(two: VectorStore) -> None:
    """A run that was cut off begins again where it likes."""
    for _ in range(2):
        assert two.index([of(two, "a"), of(two, "b")], edition=2) == 2
    with two.snapshot(edition=2) as snapshot:
        assert (snapshot.info.edition.documents, snapshot.info.chunks) == (2, 3)
    assert lexical(two, 2) == ["a:000000", "a:000001", "b:000000"]


def test_chunks_for_another_edition_are_refused(two: VectorStore) -> None:
    """A writer that began before the switch is told, and nothing of its batch is written."""
    two.index([of(two, "a"), of(two, "b")], edition=2)
    two.switch(2)
    with pytest.raises(EditionChanged, match="edition 1, but edition 2 is live"):
        two.replace([replacement("d", ["pump"])], edition=1)
    with pytest.raises(EmbedderMismatch):
        two.replace([replacement("d", ["pump"])])
    with pytest.raises(EditionChanged, match="is live by now"):
        two.index([of(two, "a")], edition=2)
    two.replace([replacement("d", ["pump"], embedder=OTHER)], edition=2)
    assert unindexed(two, 1) == ["d"]
    assert lexical(two) == ["a:000000", "a:000001", "b:000000", "d:000000"]


def test_deleting_removes_a_document_from_every_edition(two: VectorStore) -> None:
    """Whatever edition is looked at, nothing of it is left."""
    two.index([of(two, "a"), of(two, "b")], edition=2)
    two.delete(["a"])
    for edition in (1, 2):
        assert dense(two, edition) == lexical(two, edition) == ["b:000000"]
        with two.snapshot(edition=edition) as snapshot:
            assert snapshot.chunks(["a:000000", "a:000001"]) == []
            assert snapshot.info.edition.documents == 1


def test_an_edition_is_dropped_but_for_the_live_one(two: VectorStore) -> None:
    """Its number is not given again; an open snapshot of it goes on; all else about it is not found."""
    two.index([of(two, "a"), of(two, "b")], edition=2)
    with pytest.raises(EditionLive, match="edition 1 is live"):
        two.drop_edition(1)
    two.switch(2)
    with two.snapshot(edition=1) as before:
        two.drop_edition(1)
        vector = FakeEmbedder().embed_queries(["pump"])[0]
        assert sorted(hit.chunk_id for hit in before.search_dense(vector, k=9)) == ["a:000000", "a:000001", "b:000000"]
        assert len(before.search_lexical(PUMP, k=9)) == len(before.chunks(["a:000000", "a:000001", "b:000000"])) == 3
    for missing in (1, 7):
        with pytest.raises(EditionNotFound, match=f"no edition {missing}; there are: 2"), two.snapshot(edition=missing):
            pass
        with pytest.raises(EditionNotFound):
            two.switch(missing)
        with pytest.raises(EditionNotFound):
            two.drop_edition(missing)
        with pytest.raises(EditionNotFound):
            two.index([], edition=missing)
    assert two.add_edition(embedder=FakeEmbedder().info, chunking=SMALL) == 3
    assert lexical(two) == ["a:000000", "a:000001", "b:000000"]
    two.drop_edition(3)
    assert two.add_edition(embedder=FakeEmbedder().info, chunking=SMALL) == 4, "a number is never given again"


def test_contents_are_those_of_the_edition(two: VectorStore) -> None:
    """Each edition gives its own chunks and vectors of the same document."""
    mine = of(two, "a", ["pump one\n\npump two"])
    two.index([mine], edition=2)
    with two.snapshot() as live, two.snapshot(edition=2) as second:
        assert len(live.contents(["a"])[0].chunks) == 2
        (found,) = second.contents(["a"])
        assert found.document == live.document("a")
        assert list(found.chunks) == list(mine.chunks)
        np.testing.assert_array_equal(found.vectors, mine.vectors)
        assert found.source is not None


def test_no_query_mixes_editions(two: VectorStore, collections: Collections) -> None:
    """While editions are switched to and fro, each snapshot has model, hits and chunks of one of them."""
    two.index([of(two, "a", ["pump one\n\npump two"]), of(two, "b")], edition=2)
    problems: list[object] = []
    done = threading.Event()

    def read() -> None:
        reader = collections.open("c")
        while not done.is_set():
            with reader.snapshot() as snapshot:
                number = snapshot.info.edition.number
                embedder = FakeEmbedder() if number == 1 else OTHER
                hits = snapshot.search_dense(embedder.embed_queries(["pump"])[0], k=9)
                texts = sorted(found.chunk.text for found in snapshot.chunks([hit.chunk_id for hit in hits]))
                expected = (
                    ["pump one", "pump three", "pump two"] if number == 1 else ["pump one\n\npump two", "pump three"]
                )
                if (
                    snapshot.info.live != number
                    or texts != expected
                    or len(snapshot.search_lexical(PUMP, k=9)) != len(expected)
                ):
                    problems.append((number, texts))
        reader.close()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(20):
        two.switch(2 - turn % 2)
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []

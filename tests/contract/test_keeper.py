"""What a keeper promises of every store: healthy collections pass, and what was deleted can be removed for good."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from retrieval.errors import CollectionNotFound, InvalidRequest
from retrieval.ports import Collections, Keeper, VectorStore
from retrieval.records import Chunking
from tests.contract.test_random_operations import _restless, seen  # noqa: F401 - a fixture
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

SECRET = "the turquoise salamander sleeps — naïvely"


@pytest.fixture
def keeper(collections: Collections, store: VectorStore) -> Iterator[Keeper]:
    with closing(collections.keeper("c")) as opened:
        yield opened


def fill(store: VectorStore) -> None:
    """Two editions, documents replaced, moved and deleted."""
    store.replace(
        [replacement(f"d{i}", [f"pump {i}", f"valve {i} oil"], {"year": i, "tags": ("a", "b")}) for i in range(20)]
    )
    wide = FakeEmbedder(96, name="wide")
    number = store.add_edition(embedder=wide.info, chunking=Chunking(chunk_tokens=50))
    store.index(
        [replacement(f"d{i}", [f"pump {i}", f"valve {i} oil"], embedder=wide) for i in range(10)], edition=number
    )
    store.replace([replacement("d1", ["pump anew"], {"title": "not the title"}), replacement("empty", [])])
    store.delete(["d2", "d3"], leave=[source_of("d2", status="deleted")])


def test_nothing_is_found_in_an_empty_collection(keeper: Keeper) -> None:
    """Nothing is there, and nothing is wrong."""
    assert list(keeper.check()) == []


def test_nothing_is_found_after_all_kinds_of_writes(keeper: Keeper, store: VectorStore) -> None:
    """Editions that lack documents, documents without chunks, tombstones and failures are no damage."""
    fill(store)
    store.record([source_of("broken", status="failed", error="no text")])
    assert list(keeper.check()) == []
    store.drop_edition(2)
    assert list(keeper.check()) == []


def test_a_keeper_follows_what_is_written_after_it_was_opened(keeper: Keeper, store: VectorStore) -> None:
    """It looks at the collection as it is at each call."""
    assert list(keeper.check()) == []
    store.replace([replacement("a", [SECRET])])
    assert list(keeper.check()) == []
    assert keeper.traces([b"turquoise"])


def test_purge_leaves_nothing_of_a_deleted_document(
    keeper: Keeper, store: VectorStore, collections: Collections
) -> None:
    """Neither its words nor its vectors are anywhere in the store, in no edition; all else is as before."""
    fill(store)
    secret = replacement("secret", [SECRET, "another part"], {"note": "turquoise salamander"}, title="Salamanders")
    store.replace([secret])
    wide = FakeEmbedder(96, name="wide")
    other = replacement("secret", [SECRET, "another part"], title="Salamanders", embedder=wide)
    assert store.index([other], edition=2) == 1
    collections.open("c", writable=True).close()  # completes the indexes
    needles = [b"turquoise salamander", "naïvely".encode(), b"Salamanders", secret.vectors[0].tobytes()]
    assert all(keeper.traces([needle]) for needle in needles)
    store.delete(["secret"])
    with store.snapshot() as snapshot:
        before = seen(snapshot)
    keeper.purge()
    assert [keeper.traces([needle]) for needle in needles] == [[], [], [], []]
    with store.snapshot() as snapshot:
        assert seen(snapshot) == before
    assert list(keeper.check()) == []


def test_purge_takes_dropped_editions_with_it(keeper: Keeper, store: VectorStore) -> None:
    """The context of chunks is held by their edition only."""
    store.replace([replacement("a", ["pump"])])
    number = store.add_edition(embedder=FakeEmbedder().info, chunking=Chunking(chunk_tokens=50))
    store.index([replacement("a", ["pump"], title="Title of a")], edition=number)
    store.drop_edition(number)
    keeper.purge()
    assert list(keeper.check()) == []


def test_what_is_there_leaves_traces(keeper: Keeper, store: VectorStore) -> None:
    """A needle is found wherever a document keeps it: text, metadata, ledger; one that is nowhere is not."""
    store.replace([replacement("a", ["plain text"], {"colour": "tür%kis_"})])
    store.record([source_of("b", status="failed", error="a strange 'error'")])
    for needle in ("plain text", "tür%kis_", "a strange 'error'"):
        assert keeper.traces([b"nowhere to be found", needle.encode()]), needle
    assert keeper.traces(["türkkis_".encode(), b"plain_text", b"\xff\xfe"]) == []
    assert keeper.traces([]) == []


def test_an_empty_needle_is_refused(keeper: Keeper) -> None:
    """It would be found everywhere."""
    with pytest.raises(InvalidRequest, match="empty"):
        keeper.traces([b""])


def test_repairing_nothing_changes_nothing(keeper: Keeper, store: VectorStore) -> None:
    """Without findings there is nothing to mend."""
    store.replace([replacement("a", ["pump"])])
    with store.snapshot() as snapshot:
        before = seen(snapshot), snapshot.info.sequence
    assert keeper.repair([]) == []
    with store.snapshot() as snapshot:
        assert (seen(snapshot), snapshot.info.sequence) == before


def test_a_collection_that_is_not_there_has_no_keeper(collections: Collections) -> None:
    """As with `open`."""
    with pytest.raises(CollectionNotFound, match="'nobody'"):
        collections.keeper("nobody")


def test_a_collection_that_was_dropped_cannot_be_looked_after(
    keeper: Keeper, collections: Collections, store: VectorStore
) -> None:
    """Also when another one of its name is there."""
    store.close()
    collections.drop("c")
    collections.create("c", embedder=FakeEmbedder().info)
    with pytest.raises(CollectionNotFound):
        list(keeper.check())


@pytest.mark.usefixtures("_restless")
def test_what_is_written_meanwhile_is_no_damage(keeper: Keeper, collections: Collections) -> None:
    """Commits, merges and switches of editions go on beside a check, which looks at one commit."""
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with closing(collections.open("c", writable=True)) as writer:
                for i in itertools.count():
                    # Each text another: hundreds of dead copies of one vector would cut a graph of ten to pieces.
                    writer.replace(
                        [replacement(f"d{(i + j) % 9}", [f"pump {i} {j}", f"valve {i} {j}"]) for j in range(3)]
                    )
                    writer.delete([f"d{i % 7}"])
                    if done.is_set():
                        return
        except BaseException as exc:
            failures.append(exc)
            raise

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(15):
            assert [finding for finding in keeper.check() if finding.kind != "unfinished-index"] == []
    finally:
        done.set()
        thread.join()
    assert not failures
    assert list(keeper.check()) == []

"""A store that goes away: our error within its timeout, nothing acknowledged lost, and all well when it is back.

For PostgreSQL a server of its own is stopped, crashed and frozen; for FAISS the folder is moved away, as when a volume
is not mounted. The memory store cannot go away.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from retrieval.build import build_collections
from retrieval.errors import NotFound, StoreError, StoreUnavailable
from retrieval.ports import Collections, VectorStore
from retrieval.settings import RetrievalSettings
from tests import postgres
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

TIMEOUT = 1.0
SLACK = 3.0
"""Of a machine that does other things as well."""
QUERY = FakeEmbedder().embed_queries(["pump"])[0]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.OwnServer]:
    with postgres.own_server() as own:
        yield own


@pytest.fixture
def settings(server: postgres.OwnServer) -> RetrievalSettings:
    return RetrievalSettings(
        store="pgvector", postgres_url=server.url, postgres_schema=postgres.schema(), postgres_timeout=TIMEOUT
    )


def fill(collections: Collections) -> VectorStore:
    collections.create("c", embedder=FakeEmbedder().info)
    store = collections.open("c", writable=True)
    store.replace([replacement("a", ["pump one", "pump two"])])
    return store


def found(store: VectorStore) -> list[str]:
    """Both searches agree on what is there."""
    with store.snapshot() as snapshot:
        dense = sorted(hit.chunk_id for hit in snapshot.search_dense(QUERY, k=1000))
        assert dense == sorted(hit.chunk_id for hit in snapshot.search_lexical({"pump": 1.0}, k=1000))
    return dense


def fails_in_time(action: Callable[[], object], *errors: type[Exception]) -> str:
    begin = time.monotonic()
    with pytest.raises(errors or StoreUnavailable) as caught:
        action()
    assert time.monotonic() - begin < TIMEOUT + SLACK
    return str(caught.value)


@pytest.mark.parametrize(("away", "back"), [("stop", "start"), ("crash", "start"), ("freeze", "thaw")])
def test_a_server_that_is_away(server: postgres.OwnServer, settings: RetrievalSettings, away: str, back: str) -> None:
    """Searching, writing, opening and listing fail alike and in time; the same objects go on when it is back."""
    with closing(build_collections(settings)) as collections, closing(fill(collections)) as store:
        before = found(store)
        actions: list[Callable[[], object]] = [
            lambda: found(store),
            lambda: store.replace([replacement("lost", ["pump"])]),
            lambda: build_collections(settings).names(),
            lambda: store.delete(["a"]),
            lambda: collections.open("c"),
            collections.names,
        ]
        getattr(server, away)()
        try:
            for action in actions[:3] if away == "freeze" else actions:  # each waits for as long as it may
                assert "retrieval.postgres" in (message := fails_in_time(action)) or "try again" in message
        finally:
            getattr(server, back)()
        assert found(store) == before
        store.replace([replacement("b", ["pump three"])])
        assert found(store) == [*before, "b:000000"]
        assert collections.names() == ["c"]


def test_a_snapshot_that_is_open_when_the_server_stops(server: postgres.OwnServer, settings: RetrievalSettings) -> None:
    """Its next reading is our error, and closing it raises nothing of its own."""
    with closing(build_collections(settings)) as collections, closing(fill(collections)) as store:

        def read() -> None:
            with store.snapshot() as snapshot:
                server.stop()
                try:
                    snapshot.search_dense(QUERY, k=3)
                    snapshot.document("a")
                finally:
                    server.start()

        fails_in_time(read)
        assert found(store) == ["a:000000", "a:000001"]


def test_a_crash_in_the_middle_of_writing_loses_nothing(
    server: postgres.OwnServer, settings: RetrievalSettings
) -> None:
    """A writer that tries again writes each document once; every commit that returned is there, and no other chunk."""
    acknowledged: list[str] = []
    refused: list[str] = []
    done = threading.Event()
    with closing(build_collections(settings)) as collections, closing(fill(collections)) as store:

        def write() -> None:
            while not done.is_set():
                doc_id = f"d{len(acknowledged):05d}"
                try:
                    store.replace([replacement(doc_id, ["pump one", "pump two"])])
                except StoreUnavailable as exc:
                    refused.append(str(exc))
                    time.sleep(0.05)
                else:
                    acknowledged.append(doc_id)

        def more() -> None:
            seen, deadline = len(acknowledged), time.monotonic() + 30
            while len(acknowledged) < seen + 5:
                assert time.monotonic() < deadline, "nothing is written"
                time.sleep(0.01)

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(2):
            more()
            server.crash()
            server.start()
        more()
        done.set()
        writer.join()
        there = {chunk_id.split(":")[0] for chunk_id in found(store)}
        with store.snapshot() as snapshot:
            listed = [info.doc_id for info in snapshot.documents(limit=100_000)]
            assert {source.doc_id for source in snapshot.sources()} == set(listed)
            assert snapshot.info.chunks == 2 * len(listed) == len(found(store))
    assert there == set(listed) == {"a", *acknowledged}
    assert refused


def test_a_folder_that_is_away(tmp_path: Path) -> None:
    """Searching, writing and opening fail, also where files were open; the same objects go on when it is back."""
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    settings = RetrievalSettings(store="faiss", path=root)
    with closing(build_collections(settings)) as collections, closing(fill(collections)) as store:
        before = found(store)
        root.rename(elsewhere)
        for action in (
            lambda: found(store),
            lambda: store.replace([replacement("lost", ["pump"])]),
            lambda: store.delete(["a"]),
            lambda: collections.open("c"),
        ):
            assert "'c'" in fails_in_time(action, StoreError, NotFound)
        elsewhere.rename(root)
        assert found(store) == before
        store.replace([replacement("b", ["pump three"])])
        with closing(collections.open("c")) as fresh:
            assert found(fresh) == [*before, "b:000000"]

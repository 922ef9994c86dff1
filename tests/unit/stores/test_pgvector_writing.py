"""Several processes write to PostgreSQL, and some of them die: what was acknowledged is there, whole, and once."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="could not import psycopg")

import psycopg

from retrieval.build import build_collections
from retrieval.errors import EditionChanged
from retrieval.ports import VectorStore
from retrieval.records import Chunking
from retrieval.settings import RetrievalSettings
from tests import postgres
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

QUERY = FakeEmbedder().embed_queries(["pump"])[0]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def place(postgres_url: str) -> Iterator[RetrievalSettings]:
    name = postgres.schema()
    made = RetrievalSettings(store="pgvector", postgres_url=postgres_url, postgres_schema=name, postgres_timeout=20.0)
    with closing(build_collections(made)) as collections:
        collections.create("c", embedder=FakeEmbedder().info)
    yield made
    postgres.drop(postgres_url, name)


def write(place: RetrievalSettings, name: str, commits: int, acknowledged: Any) -> None:
    """Batches of two documents of its own and one that all writers have; says what was acknowledged."""
    with closing(build_collections(place)) as collections, closing(collections.open("c", writable=True)) as store:
        for i in range(commits):
            batch = [replacement(f"{name}-{i}-{part}", [f"pump {part}", "valve", "bar"], {"n": i}) for part in "ab"]
            store.replace([*batch, replacement("shared", [f"pump of {name}"] * (1 + i % 3), {name: i})])
            acknowledged.send(i)


def start(place: RetrievalSettings, name: str, commits: int) -> tuple[Any, Any]:
    receiver, sender = SPAWN.Pipe(duplex=False)
    worker = SPAWN.Process(target=write, args=(place, name, commits, sender), daemon=True)
    worker.start()
    sender.close()
    return worker, receiver


def received(receiver: Any) -> list[int]:
    """All that was acknowledged before the writer ended."""
    found = []
    try:
        while True:
            found.append(receiver.recv())
    except EOFError:
        return found


def check_whole(store: VectorStore) -> set[str]:
    """Searches, listing and counts agree on which documents there are, and each has all its chunks; their ids."""
    with store.snapshot() as snapshot:
        listed = {info.doc_id: info for info in snapshot.documents(limit=10_000)}
        dense = [hit.chunk_id for hit in snapshot.search_dense(QUERY, k=10_000)]
        lexical = [hit.chunk_id for hit in snapshot.search_lexical({"pump": 1.0}, k=10_000)]
        chunks = snapshot.chunks(dense)
        assert len(chunks) == len(set(dense)) == snapshot.info.chunks
        assert snapshot.info.documents == len(listed) == snapshot.info.edition.documents
        for doc_id in listed:
            parts = [found.chunk for found in chunks if found.chunk.doc_id == doc_id]
            text = snapshot.document(doc_id).text
            assert "\n\n".join(chunk.text for chunk in sorted(parts, key=lambda chunk: chunk.ordinal)) == text
        assert sorted(found.chunk.chunk_id for found in chunks if "pump" in found.chunk.text) == sorted(lexical)
        assert set(snapshot.info.fields) == {name for info in listed.values() for name in info.metadata}
        return set(listed)


def test_two_processes_write_at_the_same_time(place: RetrievalSettings) -> None:
    """Nothing of either is lost, and a document that both replace is there once."""
    workers = [start(place, name, 12) for name in ("left", "right")]
    assert [received(receiver) for _, receiver in workers] == [list(range(12))] * 2
    for worker, _ in workers:
        worker.join(20)
    with closing(build_collections(place)) as collections, closing(collections.open("c")) as store:
        expected = {f"{name}-{i}-{part}" for name in ("left", "right") for i in range(12) for part in "ab"}
        assert check_whole(store) == expected | {"shared"}
        with store.snapshot() as snapshot:
            assert snapshot.info.sequence == 24


def test_a_writer_that_is_killed(place: RetrievalSettings) -> None:
    """In mid-bulk, at any moment: each acknowledged batch is there whole, no half of another, and writing goes on."""
    with closing(build_collections(place)) as collections, closing(collections.open("c", writable=True)) as store:
        expected: set[str] = set()
        for turn, more in enumerate((0.0, 0.013, 0.029)):
            worker, receiver = start(place, f"t{turn}", 1000)
            seen = [receiver.recv() for _ in range(5)]
            time.sleep(more)
            os.kill(worker.pid, signal.SIGKILL)
            seen += received(receiver)
            expected |= {f"t{turn}-{i}-{part}" for i in seen for part in "ab"}
            begin = time.monotonic()
            store.replace([replacement("after", [f"pump {turn}"])])
            assert time.monotonic() - begin < 10, "the dead one's turn has ended with it"
            there = check_whole(store)
            # The one commit that may have come through without its acknowledgement is whole as well.
            unexpected = there - expected - {"shared", "after"}
            assert expected <= there
            assert unexpected in (set(), {f"t{turn}-{len(seen)}-a", f"t{turn}-{len(seen)}-b"})
            expected |= unexpected


def test_a_writer_that_waits_for_its_turn_while_editions_are_switched(place: RetrievalSettings) -> None:
    """Its vectors were made for the former edition: nothing of them is written."""
    other = FakeEmbedder(dimension=32, name="other")
    with closing(build_collections(place)) as collections, closing(collections.open("c", writable=True)) as store:
        store.replace([replacement("a", ["pump"])])
        store.add_edition(embedder=other.info, chunking=Chunking())
        store.index([replacement("a", ["pump"], embedder=other)], edition=2)
        url, schema = place.postgres_url.get_secret_value(), place.postgres_schema
        with psycopg.connect(url, autocommit=True) as admin, psycopg.connect(url, autocommit=True) as watcher:
            with admin.transaction():
                admin.execute(f'SELECT FROM "{schema}".collection FOR UPDATE')
                worker, receiver = start(place, "late", 1)
                _wait_until(watcher, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                admin.execute(f'UPDATE "{schema}".collection SET live = 2, sequence = sequence + 1')
            assert received(receiver) == []
            worker.join(20)
        assert worker.exitcode == 1
        with store.snapshot() as snapshot:
            assert [info.doc_id for info in snapshot.documents()] == ["a"]
        with pytest.raises(EditionChanged):
            store.replace([replacement("b", ["pump"])], edition=1)


def _wait_until(connection: psycopg.Connection[Any], query: str) -> None:
    deadline = time.monotonic() + 20
    while not (connection.execute(query).fetchone() or (0,))[0]:
        assert time.monotonic() < deadline, query
        time.sleep(0.02)

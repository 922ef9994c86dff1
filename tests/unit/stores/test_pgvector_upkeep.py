"""What happens between commits in PostgreSQL: the approximate index, and tables of dropped editions."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="could not import psycopg")

import psycopg

from retrieval import filters
from retrieval.errors import CollectionNotFound
from retrieval.filters import Filter
from retrieval.ports import Replacement, Vectors
from retrieval.records import Chunk, Chunking, Document, EmbedderInfo, chunk_id
from retrieval.stores.memory import MemoryCollections, MemoryStore
from retrieval.stores.pgvector import PgvectorCollections, dense, lexical_upkeep, upkeep
from retrieval.stores.pgvector.connection import LimitedConnection
from retrieval.stores.pgvector.store import PgvectorStore
from tests import postgres

DIMENSION = 24
EMBEDDER = EmbedderInfo("random", "", DIMENSION, 256)
QUERIES = 20
RANDOM = np.random.default_rng(7)
CENTRES = RANDOM.normal(size=(40, DIMENSION))


def vectors(count: int) -> Vectors:
    """Clustered, as those of texts are."""
    found = CENTRES[RANDOM.integers(0, len(CENTRES), count)] + 0.5 * RANDOM.normal(size=(count, DIMENSION))
    unit: Vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def document(number: int, chunks: int = 10) -> Replacement:
    doc_id, parts = f"d{number:04d}", [f"word{i}" for i in range(chunks)]
    made = Document(doc_id, f"file:///{doc_id}", doc_id, "text/plain", " ".join(parts), metadata={"n": number % 100})
    return Replacement(
        made,
        [
            Chunk(chunk_id(doc_id, i), doc_id, made.version, i, 6 * i, 6 * i + len(part), part)
            for i, part in enumerate(parts)
        ],
        vectors(chunks),
    )


class Pair:
    """The store under test and the exact one, written alike."""

    def __init__(self, url: str, schema: str) -> None:
        self.url, self.schema = url, schema
        memory = MemoryCollections()
        for each in (self._collections(), memory):
            each.create("c", embedder=EMBEDDER)
            each.close()
        self.oracle: MemoryStore = memory.open("c", writable=True)
        self.open()

    def open(self) -> None:
        self.collections = self._collections()
        self.store: PgvectorStore = self.collections.open("c", writable=True)

    def _collections(self) -> PgvectorCollections:
        return PgvectorCollections(self.url, password_file=None, schema=self.schema, connections=6, timeout=10.0)

    def replace(self, replacements: Sequence[Replacement]) -> None:
        for store in (self.store, self.oracle):
            store.replace(replacements)

    def delete(self, doc_ids: Sequence[str]) -> None:
        assert self.store.delete(doc_ids) == self.oracle.delete(doc_ids)

    def recall(self, k: int = 10, filter: Filter | None = None) -> float:
        """Of some queries; scores of what is found are the exact ones."""
        hit = 0
        with self.store.snapshot() as mine, self.oracle.snapshot() as theirs:
            for query in vectors(QUERIES):
                found = mine.search_dense(query, k=k, filter=filter)
                expected = theirs.search_dense(query, k=10**6, filter=filter)
                scores = {one.chunk_id: one.score for one in expected}
                assert found == sorted(found, key=lambda one: (-one.score, one.chunk_id))
                assert all(one.score == pytest.approx(scores[one.chunk_id], abs=2e-6) for one in found)
                assert len(found) == min(k, len(expected))
                hit += len({one.chunk_id for one in found} & {one.chunk_id for one in expected[:k]})
        return hit / (QUERIES * min(k, len(expected)))

    def run(self, query: str) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'SET search_path = "{self.schema}", public')
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def index(self) -> list[Any]:
        """Whether it is valid; nothing when there is none."""
        return self.run("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('vector_1_hnsw')")

    def index_was_read(self) -> int:
        """How often since the store was opened; a session tells its figures when it ends."""
        self.collections.close()
        self.open()
        query = f"""SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes
                    WHERE schemaname = '{self.schema}' AND indexrelname = 'vector_1_hnsw'"""
        before, reads = -1, 0
        while reads != before:
            time.sleep(0.2)
            before, reads = reads, int(self.run(query)[0][0])
        return reads

    def tables(self) -> list[str]:
        return [name for (name,) in self.run(f"SELECT tablename FROM pg_tables WHERE schemaname = '{self.schema}'")]


@pytest.fixture
def pair(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """What is large in earnest is small here."""
    monkeypatch.setattr(upkeep, "BUILD_CHUNKS", 1000)
    monkeypatch.setattr(upkeep, "ANALYZE_CHUNKS", 100)
    monkeypatch.setattr(dense, "NARROW", 1.0)
    made = Pair(postgres_url, postgres.schema())
    yield made
    made.collections.close()
    postgres.drop(postgres_url, made.schema)


HALF, ONE_PERCENT = filters.parse({"n": {"$gte": 50}}), filters.parse({"n": 7})


def test_a_large_edition_gets_an_index(pair: Pair) -> None:
    """Not before it is worth it; then it is used, and finds what an exact search finds, with and without a filter."""
    pair.replace([document(i) for i in range(90)])
    pair.store.close()
    assert pair.index() == []
    assert pair.recall() == 1.0
    pair.replace([document(i) for i in range(90, 200)])
    pair.store.close()
    assert pair.index() == [(True,)]
    assert pair.index_was_read() == 0
    assert pair.recall() >= 0.98
    assert pair.recall(filter=HALF) >= 0.98
    assert pair.index_was_read() >= 2 * QUERIES
    assert pair.recall(filter=ONE_PERCENT) == 1.0
    assert pair.recall(k=2000) == 1.0


def test_an_index_follows_every_commit(pair: Pair) -> None:
    """What comes later is found through it, what was deleted or replaced is not."""
    pair.replace([document(i) for i in range(120)])
    pair.store.close()
    pair.replace([document(i) for i in range(60, 200)])
    pair.delete([f"d{i:04d}" for i in range(40)])
    assert pair.index() == [(True,)]
    assert pair.recall() >= 0.98
    assert pair.recall(filter=HALF) >= 0.98
    assert pair.index_was_read() >= 2 * QUERIES


def test_a_filter_far_from_the_query(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the index gives up before it has found enough that passes, the rest is searched exactly."""
    near, far = CENTRES[0] / np.linalg.norm(CENTRES[0]), -CENTRES[0] / np.linalg.norm(CENTRES[0])
    replacements = []
    for i in range(200):
        one, centre = document(i), near if i % 100 < 50 else far
        moved = centre + 0.01 * RANDOM.normal(size=(10, DIMENSION))
        moved = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
        replacements.append(Replacement(one.document, one.chunks, moved))
    pair.replace(replacements)
    pair.store.close()
    with pair.store.snapshot() as mine, pair.oracle.snapshot() as theirs:
        query = near.astype(np.float32)
        mine._connection.execute("SET LOCAL hnsw.max_scan_tuples = 100")
        assert mine.search_dense(query, k=10, filter=HALF) == theirs.search_dense(query, k=10, filter=HALF)


def test_an_index_that_a_crash_left_unfinished(pair: Pair) -> None:
    """Searches do without it, and the next upkeep builds it anew, unless somebody is still at it."""
    pair.replace([document(i) for i in range(120)])
    pair.store.close()
    pair.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('vector_1_hnsw')")
    assert pair.recall() == 1.0
    with psycopg.connect(pair.url) as builder:
        builder.execute(f"SELECT pg_advisory_lock(hashtextextended('footnote dense {pair.schema}', 1))")
        pair.replace([document(500)])
        pair.store.close()
        assert pair.index() == [(False,)]
    pair.replace([document(501)])
    pair.store.close()
    assert pair.index() == [(True,)]
    assert pair.recall() >= 0.98


def test_two_writers_end_at_the_same_time(pair: Pair) -> None:
    """One of them builds the index, none fails."""
    other = PgvectorCollections(pair.url, password_file=None, schema=pair.schema, connections=4, timeout=10.0)
    second = other.open("c", writable=True)
    pair.replace([document(i) for i in range(150)])
    second.replace([document(700)])
    threads = [threading.Thread(target=store.close) for store in (pair.store, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    other.close()
    assert pair.index() == [(True,)]


def test_a_build_without_shared_memory(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container with little of it the build goes on by itself, without parallel workers."""
    execute, tried = LimitedConnection.execute, []

    def little_memory(self: LimitedConnection, query: Any, *args: Any, **more: Any) -> Any:
        if isinstance(query, bytes) and query.startswith(b"CREATE INDEX CONCURRENTLY"):
            (workers,) = execute(self, "SHOW max_parallel_maintenance_workers").fetchone() or ("",)
            tried.append(workers)
            if workers != "0":
                raise psycopg.errors.DiskFull("could not resize shared memory segment")
        return execute(self, query, *args, **more)

    monkeypatch.setattr(LimitedConnection, "execute", little_memory)
    pair.replace([document(i) for i in range(120)])
    pair.store.close()
    assert pair.index() == [(True,)]
    assert tried == ["4", "0"]


def test_upkeep_that_fails_harms_no_commit(pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """It is logged, writing and closing go on, and the next commit tries again."""

    def fail(*_: object) -> int:
        raise psycopg.OperationalError("the server closed the connection")

    with monkeypatch.context() as broken:
        broken.setattr(lexical_upkeep, "maintain", fail)
        pair.replace([document(i) for i in range(120)])
        pair.store.close()
    assert "after the next commit" in caplog.text
    assert pair.index() == []
    pair.replace([document(300)])
    pair.store.close()
    assert pair.index() == [(True,)]


def test_tables_of_a_dropped_edition_go_with_its_last_reader(pair: Pair) -> None:
    """The reader goes on; afterwards nothing of the edition is left."""
    pair.replace([document(1)])
    number = pair.store.add_edition(embedder=EMBEDDER, chunking=Chunking(chunk_tokens=50))
    pair.store.index([document(1)], edition=number)
    with pair.store.snapshot(edition=number) as reader:
        pair.store.drop_edition(number)
        assert "chunk_2" in pair.tables()
        assert len(reader.search_dense(vectors(1)[0], k=100)) == 10
        assert len(reader.search_lexical({"word1": 1.0}, k=100)) == 1
    pair.collections.upkeep.sweep()
    assert [name for name in pair.tables() if name.endswith("_2")] == []
    assert pair.run("SELECT * FROM dropped") == []
    assert len([name for name in pair.tables() if name.endswith("_1")]) == 6


def test_nothing_is_left_of_a_dropped_collection(pair: Pair) -> None:
    """Neither its tables nor a row in those that it shared."""
    pair.replace([document(i) for i in range(3)])
    pair.collections.create("other", embedder=EMBEDDER)
    pair.collections.drop("c")
    assert [name for name in pair.tables() if name.endswith("_1")] == []
    for table in ("document", "content", "source", "field", "dropped"):
        assert pair.run(f"SELECT count(*) FROM {table}") == [(0,)]
    assert pair.run("SELECT name FROM collection") == [("other",)]
    with pytest.raises(CollectionNotFound, match="dropped since"), pair.store.snapshot():
        pass
    with pytest.raises(CollectionNotFound, match="dropped since"):
        pair.store.replace([document(1)])

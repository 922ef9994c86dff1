"""The tables of the pgvector store: made once by whoever comes first, upgraded, and never taken from somebody else."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="could not import psycopg")

import psycopg

from retrieval.build import build_collections
from retrieval.errors import CollectionNotFound, ConfigError, StoreCorrupt, StoreTooNew
from retrieval.records import Chunking
from retrieval.settings import RetrievalSettings
from retrieval.stores.pgvector import migrations, schema
from tests import postgres
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

EMBEDDER = FakeEmbedder().info


@pytest.fixture
def place(postgres_url: str) -> Iterator[RetrievalSettings]:
    name = postgres.schema()
    yield RetrievalSettings(store="pgvector", postgres_url=postgres_url, postgres_schema=name, postgres_timeout=5.0)
    postgres.drop(postgres_url, name)


@contextmanager
def connect(place: RetrievalSettings) -> Iterator[psycopg.Connection[Any]]:
    """An administrator, at home in the schema."""
    with psycopg.connect(place.postgres_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(f'SET search_path = "{place.postgres_schema}", public')
        yield connection


def rows(place: RetrievalSettings, query: str) -> list[Any]:
    with connect(place) as connection:
        return connection.execute(query).fetchall()


def tables(place: RetrievalSettings) -> list[str]:
    name = place.postgres_schema
    return [row[0] for row in rows(place, f"SELECT tablename FROM pg_tables WHERE schemaname = '{name}' ORDER BY 1")]


def test_reading_makes_nothing(place: RetrievalSettings) -> None:
    """Before anything was written there are no collections, and no schema either."""
    with closing(build_collections(place)) as collections:
        assert collections.names() == []
        with pytest.raises(CollectionNotFound, match="there are: none"):
            collections.open("c")
    assert rows(place, f"SELECT FROM pg_namespace WHERE nspname = '{place.postgres_schema}'") == []


def test_a_schema_is_made_once(place: RetrievalSettings) -> None:
    """The second process finds it as the first one left it, an empty one that an administrator made is taken."""
    with connect(place) as connection:
        connection.execute(f'CREATE SCHEMA "{place.postgres_schema}"')
    for name in ("one", "two"):
        with closing(build_collections(place)) as collections:
            collections.create(name, embedder=EMBEDDER)
    versions = [(number,) for number, _ in enumerate(migrations.MIGRATIONS, start=1)]
    assert rows(place, "SELECT version FROM footnote_migration ORDER BY version") == versions
    assert rows(place, "SELECT name FROM collection ORDER BY name") == [("one",), ("two",)]


def _create(place: RetrievalSettings, name: str, together: Any) -> None:
    with closing(build_collections(place)) as collections:
        together.wait()
        collections.create(name, embedder=EMBEDDER)
        with closing(collections.open(name, writable=True)) as store:
            store.replace([replacement(name, ["pump"])])


def test_four_processes_make_it_at_the_same_time(place: RetrievalSettings) -> None:
    """Each gets its collection, and the migrations ran once."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4, timeout=30)  # one that fails must not keep the others for ever
    workers = [context.Process(target=_create, args=(place, f"c{i}", together), daemon=True) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert rows(place, "SELECT count(*) FROM footnote_migration") == [(len(migrations.MIGRATIONS),)]
    with closing(build_collections(place)) as collections:
        assert collections.names() == ["c0", "c1", "c2", "c3"]
        for name in collections.names():
            with collections.open(name).snapshot() as snapshot:
                assert [info.doc_id for info in snapshot.documents()] == [name]


def test_an_earlier_version_is_brought_up_to_date(place: RetrievalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is run, by a reader too, once, and what is there stays."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
    more = "ALTER TABLE {schema}.collection ADD COLUMN note text NOT NULL DEFAULT 'new'"
    monkeypatch.setattr(schema, "MIGRATIONS", (*migrations.MIGRATIONS, more))
    for _ in range(2):
        with closing(build_collections(place)) as collections:
            assert collections.names() == ["c"]
    assert rows(place, "SELECT name, note FROM collection") == [("c", "new")]
    assert len(rows(place, "SELECT FROM footnote_migration")) == len(migrations.MIGRATIONS) + 1


def test_editions_of_before_token_vectors_keep_none(place: RetrievalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tables stay as they are; new editions beside them may keep some."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
        with closing(collections.open("c", writable=True)) as store:
            store.replace([replacement("a", ["pump"])])
    with connect(place) as connection:
        connection.execute("ALTER TABLE edition DROP COLUMN token_code")
        connection.execute("DELETE FROM footnote_migration WHERE version >= 3")
    tokens = FakeEmbedder(name="tokens", token_code="fake-1")
    with closing(build_collections(place)) as collections, closing(collections.open("c", writable=True)) as store:
        number = store.add_edition(embedder=tokens.info, chunking=Chunking(), token_code="fake-1")
        store.index([replacement("a", ["pump"], embedder=tokens)], edition=number)
        store.replace([replacement("b", ["valve"])])
        with store.snapshot() as snapshot:
            assert [one.token_code for one in snapshot.info.editions] == ["", "fake-1"]
            assert snapshot.token_vectors(["a:000000", "b:000000"]) == [b"", b""]
        with store.snapshot(edition=number) as snapshot:
            assert snapshot.token_vectors(["a:000000"]) == tokens.embed_documents_with_tokens(["pump"])[1]
        with closing(collections.keeper("c")) as keeper:
            assert list(keeper.check()) == []


def test_a_migration_that_fails_changes_nothing(place: RetrievalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing, the record of it included."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
    before = tables(place)
    broken = "CREATE TABLE {schema}.half (); ALTER TABLE {schema}.nowhere ADD COLUMN note text"
    monkeypatch.setattr(schema, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
    with closing(build_collections(place)) as collections, pytest.raises(StoreCorrupt, match="nowhere"):
        collections.names()
    assert tables(place) == before
    assert len(rows(place, "SELECT FROM footnote_migration")) == len(migrations.MIGRATIONS)


def test_a_query_during_a_migration(place: RetrievalSettings) -> None:
    """It waits and answers from what it saw, whatever becomes of the migration; the next one is told."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
        store = collections.open("c", writable=True)
        store.replace([replacement("a", ["pump"])])

        def ask() -> list[str]:
            with store.snapshot() as snapshot:
                return [hit.chunk_id for hit in snapshot.search_lexical({"pump": 1.0}, k=5)]

        for end in ("ROLLBACK", "COMMIT"):
            with connect(place) as migrating, ThreadPoolExecutor(1) as thread:
                migrating.execute("BEGIN")
                migrating.execute("ALTER TABLE collection ADD COLUMN note text")
                migrating.execute("INSERT INTO footnote_migration VALUES (999)")
                answer = thread.submit(ask)
                with pytest.raises(TimeoutError):
                    answer.result(0.3)
                migrating.execute(end)
                assert answer.result(5) == ["a:000000"]
        with pytest.raises(StoreTooNew, match="999"):
            ask()


def test_a_later_version_is_refused(place: RetrievalSettings) -> None:
    """By whoever comes, and by those who had it open when another process upgraded it."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
        store = collections.open("c", writable=True)
        with connect(place) as connection:
            connection.execute("INSERT INTO footnote_migration VALUES (999)")
        with pytest.raises(StoreTooNew, match=r"version 999.*upgrade Footnote"), store.snapshot():
            pass
        with pytest.raises(StoreTooNew, match="999"):
            store.replace([replacement("a", ["pump"])])
    with closing(build_collections(place)) as collections:
        for action in (collections.names, lambda: collections.create("d", embedder=EMBEDDER)):
            with pytest.raises(StoreTooNew, match="999"):
                action()


@pytest.mark.parametrize("name", ["orders", "collection", "document"])
def test_a_schema_with_tables_of_somebody_else_is_left_alone(place: RetrievalSettings, name: str) -> None:
    """The error names the setting, and the table stays as it was."""
    with connect(place) as connection:
        connection.execute(f'CREATE SCHEMA "{place.postgres_schema}"')
        connection.execute(f"CREATE TABLE {name} AS SELECT 7 AS seven")
    with closing(build_collections(place)) as collections:
        for action in (collections.names, lambda: collections.create("c", embedder=EMBEDDER)):
            with pytest.raises(ConfigError, match=rf"{name}.*retrieval\.postgres_schema"):
                action()
    assert tables(place) == [name]
    assert rows(place, f"SELECT seven FROM {name}") == [(7,)]


def test_a_table_in_the_way_of_an_edition(place: RetrievalSettings) -> None:
    """Nothing of the collection is left, and the name stays free."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
        with connect(place) as connection:
            connection.execute("CREATE TABLE chunk_2 ()")
        with pytest.raises(StoreCorrupt, match=r'"chunk_2".*retrieval\.postgres_schema'):
            collections.create("d", embedder=EMBEDDER)
        collections.create("d", embedder=EMBEDDER)
        assert collections.names() == ["c", "d"]


@pytest.mark.parametrize("table", ["document", "chunk_1", "vector_1", "segment_1"])
def test_a_table_that_is_missing(place: RetrievalSettings, table: str) -> None:
    """Somebody dropped one of ours: searching says that the schema is damaged."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
        store = collections.open("c", writable=True)
        store.replace([replacement("a", ["pump"])])
        with connect(place) as connection:
            connection.execute(f"DROP TABLE {table}")

        def search() -> None:
            with store.snapshot() as snapshot:
                snapshot.search_dense(FakeEmbedder().embed_queries(["pump"])[0], k=1)
                snapshot.search_lexical({"pump": 1.0}, k=1)
                snapshot.chunks(["a:000000"])

        with pytest.raises(StoreCorrupt, match=rf"{table}.*backup"):
            search()


def test_more_dimensions_than_pgvector_takes(place: RetrievalSettings) -> None:
    """It is said before anything is embedded."""
    with (
        closing(build_collections(place)) as collections,
        pytest.raises(ConfigError, match=r"16000.*retrieval\.model"),
    ):
        collections.create("c", embedder=FakeEmbedder(dimension=16_001).info)


@pytest.mark.parametrize("dimension", [1, 2_000, 2_001, 5_000])
def test_vectors_of_many_lengths(place: RetrievalSettings, dimension: int) -> None:
    """Those that fit into a page and those that do not."""
    embedder = FakeEmbedder(dimension=dimension)
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=embedder.info)
        store = collections.open("c", writable=True)
        given = replacement("a", ["pump one", "valve two"], embedder=embedder)
        store.replace([given])
        with store.snapshot() as snapshot:
            hits = snapshot.search_dense(embedder.embed_queries(["valve two"])[0], k=1)
            if dimension > 1:
                assert [hit.chunk_id for hit in hits] == ["a:000001"]
            assert (snapshot.vectors(["a:000000", "a:000001"]) == given.vectors).all()


def test_an_index_that_names_what_is_not_there(place: RetrievalSettings) -> None:
    """A search says that the collection is damaged, and which way leads out."""
    with closing(build_collections(place)) as collections:
        collections.create("c", embedder=EMBEDDER)
        with closing(collections.open("c", writable=True)) as store:
            store.replace([replacement("a", ["pump one", "pump two"])])
            with connect(place) as connection:
                connection.execute("DELETE FROM chunk_1 WHERE ordinal = 1")
            with store.snapshot() as snapshot, pytest.raises(StoreCorrupt, match=r"chunk_1.*footnote doctor"):
                snapshot.search_lexical({"pump": 1.0}, k=5)

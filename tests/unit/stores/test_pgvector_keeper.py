"""The keeper of a collection in PostgreSQL finds just the damage that was done, and mends it."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="could not import psycopg")

import psycopg

from retrieval.build import build_collections
from retrieval.errors import StoreCorrupt
from retrieval.ports import Keeper, Replacement
from retrieval.records import Chunking
from retrieval.settings import RetrievalSettings
from retrieval.stores.pgvector import PgvectorCollections, upkeep
from retrieval.stores.pgvector import keeper as keepers
from tests import postgres
from tests.contract.test_random_operations import seen
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

WIDE = FakeEmbedder(96, name="wide", token_code="wide-1")
Sql = Callable[..., list[Any]]
_SECOND = "SELECT chunk_key FROM chunk_{1} WHERE chunk_id = 'd7:000001'"


def document(i: int, embedder: FakeEmbedder | None = None) -> Replacement:
    return replacement(f"d{i}", [f"pump {i}", "valve oil"], {"n": i}, embedder=embedder)


@pytest.fixture
def schema(postgres_url: str) -> Iterator[str]:
    name = postgres.schema()
    yield name
    postgres.drop(postgres_url, name)


@pytest.fixture
def collections(postgres_url: str, schema: str) -> Iterator[PgvectorCollections]:
    """A collection with a second edition, tombstones and several lexical segments, beside another collection."""
    made = build_collections(RetrievalSettings(store="pgvector", postgres_url=postgres_url, postgres_schema=schema))
    assert isinstance(made, PgvectorCollections)
    for name in ("other", "c"):
        made.create(name, embedder=FakeEmbedder().info)
    store = made.open("c", writable=True)
    store.replace([document(i) for i in range(10)])
    store.replace([document(i) for i in range(10, 20)])
    number = store.add_edition(embedder=WIDE.info, chunking=Chunking(chunk_tokens=50), token_code="wide-1")
    store.index([document(i, WIDE) for i in range(10)], edition=number)
    store.delete(["d3", "d15"])
    made.open("other", writable=True).replace([replacement("elsewhere", ["pump"], {"m": 1})])
    yield made
    made.close()


@pytest.fixture
def keeper(collections: PgvectorCollections) -> Keeper:
    opened = collections.keeper("c")
    assert list(opened.check()) == []
    return opened


@pytest.fixture
def sql(postgres_url: str, schema: str, collections: PgvectorCollections) -> Sql:
    """Runs a statement; {1} and {2} are the keys of the two editions, {c} is that of the collection."""

    def run(statement: str, *bound: object) -> list[Any]:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f'SET search_path = "{schema}", public')
            [(key,)] = connection.execute("SELECT collection_key FROM collection WHERE name = 'c'")
            editions = connection.execute("SELECT number, edition_key FROM edition WHERE collection_key = %s", (key,))
            for number, edition_key in editions.fetchall():
                statement = statement.replace(f"{{{number}}}", str(edition_key))
            cursor = connection.execute(statement.replace("{c}", str(key)), bound or None)
            assert cursor.rowcount != 0, statement
            return cursor.fetchall() if cursor.description else []

    return run


def everything(collections: PgvectorCollections) -> list[object]:
    views = []
    for name, number in (("c", None), ("c", 2), ("other", None)):
        with collections.open(name).snapshot(edition=number) as snapshot:
            views.append(seen(snapshot))
    return views


def mends(keeper: Keeper, collections: PgvectorCollections, before: list[object]) -> set[str]:
    """The kinds that are found; afterwards nothing is, and all results are as before."""
    found = list(keeper.check())
    assert keeper.repair(found) == found
    assert list(keeper.check()) == []
    assert everything(collections) == before
    return {finding.kind for finding in found}


@pytest.mark.parametrize(
    ("kinds", "statement"),
    [
        ({"wrong-count"}, "UPDATE collection SET documents = documents + 3 WHERE collection_key = {c}"),
        ({"wrong-count"}, "UPDATE edition SET chunks = chunks - 1 WHERE edition_key = {2}"),
        ({"wrong-count"}, "UPDATE edition SET documents = 0 WHERE edition_key = {1}"),
        ({"wrong-count"}, "UPDATE field SET documents = 7 WHERE collection_key = {c}"),
        ({"wrong-count"}, "DELETE FROM field WHERE collection_key = {c}"),
        ({"wrong-count"}, "INSERT INTO field VALUES ({c}, 'nobody', 2)"),
        ({"wrong-sequence"}, "UPDATE edition SET last_key = 3 WHERE edition_key = {1}"),
        ({"wrong-sequence"}, "UPDATE collection SET last_edition = 1 WHERE collection_key = {c}"),
        ({"orphan-rows"}, "INSERT INTO content VALUES (4711, 'a text of nobody', '[]')"),
        ({"orphan-rows"}, "INSERT INTO source SELECT 4711, 'file:///x', status, doc_id, content_hash, fingerprint, "
         "size, media_type, chunks, error, recorded_at FROM source LIMIT 1"),
        ({"orphan-rows"}, "INSERT INTO vector_{1} SELECT 4711, doc_key, embedding FROM vector_{1} LIMIT 1"),
        ({"orphan-rows"}, "INSERT INTO chunk_{1} SELECT 4711, 4711, 'x:000000', 0, 0, 1, NULL, '[]', '', 'x'"),
        ({"orphan-rows", "wrong-count"}, "INSERT INTO indexed_{2} VALUES (4711, 3, 0)"),
        ({"orphan-rows"}, "INSERT INTO tombstone_{1} VALUES (4711)"),
        ({"orphan-table"}, "CREATE TABLE chunk_4711 (chunk_key bigint)"),
    ],
)  # fmt: skip
def test_rows_that_follow_from_others_are_mended(
    keeper: Keeper, collections: PgvectorCollections, sql: Sql, kinds: set[str], statement: str
) -> None:
    """Counts, numbers that only grow, rows and tables of nothing."""
    before = everything(collections)
    sql(statement)
    found = mends(keeper, collections, before)
    assert kinds <= found <= kinds | {"wrong-count", "wrong-sequence", "uncovered-chunks"}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM posting_{1} WHERE segment_key = (SELECT min(segment_key) FROM segment_{1})",
        "UPDATE posting_{1} SET data = substring(data FROM 1 FOR 20)",
        "UPDATE posting_{1} SET data = set_byte(data, 8, get_byte(data, 8) # 1)",
        "UPDATE posting_{1} SET data = set_byte(data, length(data) - 1, 7)",
        "UPDATE segment_{1} SET lengths = set_byte(lengths, 4, 99)",
        "UPDATE segment_{1} SET keys = set_byte(keys, 0, 222)",
        "UPDATE segment_{1} SET keys = substring(keys FROM 1 FOR 11)",
        "UPDATE segment_{1} SET analysis = 0",
        "DELETE FROM segment_{1} WHERE segment_key = (SELECT min(segment_key) FROM segment_{1})",
        "DELETE FROM tombstone_{1}",
        "INSERT INTO tombstone_{1} SELECT chunk_key FROM chunk_{1} WHERE chunk_id = 'd7:000000'",
        "INSERT INTO segment_{1} (analysis, chunks, pages, bytes, keys, lengths) "
        "SELECT analysis, chunks, 0, 0, keys, lengths FROM segment_{1} LIMIT 1",
    ],
)
def test_the_lexical_index_is_made_anew_from_the_chunks(
    keeper: Keeper, collections: PgvectorCollections, sql: Sql, statement: str
) -> None:
    """Whatever is wrong with its segments, pages and tombstones."""
    before = everything(collections)
    sql(statement)
    kinds = {"damaged-segment", "stale-segment", "uncovered-chunks", "orphan-rows"}
    assert mends(keeper, collections, before) <= kinds


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("missing-vector", f"DELETE FROM vector_{{1}} WHERE chunk_key = ({_SECOND})"),
        (
            "wrong-vector",
            "UPDATE vector_{1} SET embedding = embedding * array_fill(0.5, ARRAY[64])::real[]::public.vector "
            f"WHERE chunk_key = ({_SECOND})",
        ),
        ("missing-chunks", "DELETE FROM chunk_{1} WHERE chunk_id = 'd7:000001'"),
    ],
)
def test_what_only_the_text_can_give_again_names_its_document(
    keeper: Keeper, collections: PgvectorCollections, sql: Sql, kind: str, statement: str
) -> None:
    """The keeper leaves it, says for which edition, and it is well when the document was put anew."""
    before = everything(collections)
    sql(statement)
    found = list(keeper.check())
    assert {(one.kind, one.doc_id, one.edition) for one in found if one.doc_id} == {(kind, "d7", 1)}
    assert all(not finding.doc_id for finding in keeper.repair(found))
    collections.open("c", writable=True).replace([document(7)])
    collections.open("c", writable=True).index([document(7, WIDE)], edition=2)
    keeper.repair(list(keeper.check()))  # what died and was in no segment has left a tombstone
    assert list(keeper.check()) == []
    assert everything(collections) == before


@pytest.mark.parametrize("value", ["NULL", "''"])
def test_token_vectors_that_are_missing_name_their_document(
    keeper: Keeper, collections: PgvectorCollections, sql: Sql, value: str
) -> None:
    """What ranks by them finds none meanwhile; a copy would be wrong and is refused."""
    sql(
        f"UPDATE vector_{{2}} SET token_vectors = {value} "
        "WHERE chunk_key = (SELECT chunk_key FROM chunk_{2} WHERE chunk_id = 'd7:000000')"
    )
    found = list(keeper.check())
    assert [(one.kind, one.subject, one.doc_id, one.edition) for one in found] == [
        ("missing-token-vectors", "d7:000000", "d7", 2)
    ]
    assert keeper.repair(found) == []
    store = collections.open("c", writable=True)
    with store.snapshot(edition=2) as snapshot:
        assert [bool(blob) for blob in snapshot.token_vectors(["d7:000000", "d7:000001"])] == [False, True]
        with pytest.raises(StoreCorrupt, match=r"'d7' lacks token vectors.*doctor"):
            snapshot.contents(["d7"])
    store.index([document(7, WIDE)], edition=2)
    assert list(keeper.check()) == []


def test_a_document_without_its_text_goes(keeper: Keeper, collections: PgvectorCollections, sql: Sql) -> None:
    """Nothing can be made of it; its ledger line stays and tells what is to be ingested again."""
    sql("DELETE FROM content WHERE doc_key = (SELECT doc_key FROM document WHERE doc_id = 'd7')")
    found = list(keeper.check())
    assert [(finding.kind, finding.subject) for finding in found] == [("missing-text", "d7")]
    keeper.repair(found)
    assert list(keeper.check()) == []
    with collections.open("c").snapshot() as snapshot:
        assert "d7" not in {info.doc_id for info in snapshot.documents()}
        assert [line.doc_id for line in snapshot.sources() if line.doc_id == "d7"] == ["d7"]


def test_missing_tables_are_made_empty(keeper: Keeper, collections: PgvectorCollections, sql: Sql) -> None:
    """All documents are unindexed then, and can be embedded again."""
    with suppress(psycopg.ProgrammingError):
        sql("DROP TABLE vector_{1}")
    assert {finding.kind for finding in keeper.check()} == {"missing-tables"}
    keeper.repair(list(keeper.check()))
    assert list(keeper.check()) == []
    with collections.open("c").snapshot() as snapshot:
        assert len(snapshot.documents(unindexed=True)) == len(snapshot.documents()) == 18


def test_an_index_that_was_left_unfinished_is_built(
    keeper: Keeper, collections: PgvectorCollections, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes space and time, and is not used."""
    monkeypatch.setattr(upkeep, "BUILD_CHUNKS", 4)
    store = collections.open("c", writable=True)
    store.replace([document(7)])
    store.close()
    before = everything(collections)
    assert list(keeper.check()) == []
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'vector_{1}_hnsw'::regclass")
    assert mends(keeper, collections, before) == {"unfinished-index"}


def test_an_index_that_finds_nothing_is_built_anew(
    keeper: Keeper, collections: PgvectorCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors look for themselves through it."""
    monkeypatch.setattr(upkeep, "BUILD_CHUNKS", 4)
    store = collections.open("c", writable=True)
    store.replace([document(7)])
    store.close()
    monkeypatch.setattr(keepers, "_FOUND", 1.1)
    found = list(keeper.check())
    assert [finding.kind for finding in found] == ["damaged-index"] * 2
    assert "finds" in found[0].detail
    monkeypatch.setattr(keepers, "_FOUND", 0.75)
    assert keeper.repair(found) == found
    assert list(keeper.check()) == []


def test_other_collections_are_neither_looked_at_nor_touched(
    keeper: Keeper, collections: PgvectorCollections, sql: Sql
) -> None:
    """Damage next door is next door's, and so are its texts."""
    sql("UPDATE collection SET documents = 99 WHERE name = 'other'")
    assert list(keeper.check()) == []
    assert keeper.traces([b"Title of elsewhere"]) == []
    with closing(collections.keeper("other")) as other:
        assert [finding.kind for finding in other.check()] == ["wrong-count"]
        assert other.traces([b"Title of elsewhere"])


def test_many_copies_of_a_text_are_no_damage(
    keeper: Keeper, collections: PgvectorCollections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of their vectors finds others like itself."""
    monkeypatch.setattr(upkeep, "BUILD_CHUNKS", 4)
    store = collections.open("c", writable=True)
    store.replace([replacement(f"n{i}", ["the same notice"]) for i in range(200)])
    store.close()
    assert list(keeper.check()) == []

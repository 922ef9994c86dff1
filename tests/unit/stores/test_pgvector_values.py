"""Values survive PostgreSQL, which knows no NUL, one kind of number and its own order of texts."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("psycopg", reason="could not import psycopg")

from retrieval import filters
from retrieval.build import build_collections
from retrieval.errors import InvalidRequest
from retrieval.filters import And, Compare, Filter, In, Not, Or
from retrieval.ports import VectorStore
from retrieval.records import MetadataValue, Scalar
from retrieval.settings import RetrievalSettings
from retrieval.stores.pgvector import PgvectorCollections, arrays, passing
from retrieval.stores.pgvector import store as store_module
from retrieval.stores.pgvector.passing import Passing, PassingCache
from retrieval.stores.pgvector.rows import json_text
from retrieval.stores.pgvector.snapshot import PgvectorSnapshot
from retrieval.stores.pgvector.text import escape, unescape
from tests import postgres
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

texts = st.text(
    st.one_of(st.sampled_from("\x00\x01\x02a\"\\'%${}"), st.characters(exclude_categories=["Cs"])), max_size=8
)
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-(2.0**63), 2.0**63, allow_nan=False, exclude_max=True),
    st.sampled_from([2**53, 2**53 + 1, float(2**53), 2**62, float(2**62), 1, 1.0, 0.1, 5e-324, -0.0]),
)


@pytest.fixture(scope="module")
def store(postgres_url: str) -> Iterator[VectorStore]:
    name = postgres.schema()
    with closing(
        build_collections(RetrievalSettings(store="pgvector", postgres_url=postgres_url, postgres_schema=name))
    ) as collections:
        for each in ("neighbour", "c"):
            collections.create(each, embedder=FakeEmbedder().info)
        yield collections.open("c", writable=True)
    postgres.drop(postgres_url, name)


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(texts, texts)
def test_escaped_texts_keep_their_order(one: str, other: str) -> None:
    """Reversible, without NUL, and sorted as before."""
    assert unescape(escape(one)) == one
    assert "\x00" not in escape(one)
    assert (one < other) == (escape(one) < escape(other))
    assert (one == other) == (escape(one) == escape(other))


def test_a_lone_surrogate_is_refused(store: VectorStore) -> None:
    """It is no text; the message shows where it is."""
    with pytest.raises(InvalidRequest, match=r"udc80.*Unicode"):
        store.record([source_of("a", error="bad \udc80 byte")])


@settings(relaxed, max_examples=60)
@given(
    metadata=st.dictionaries(
        texts.filter(lambda name: bool(name) and not name.startswith("$")),
        st.one_of(texts, numbers, st.booleans(), st.lists(texts, max_size=3).map(tuple)),
        max_size=4,
    ),
    title=texts,
    body=texts,
)
def test_a_document_comes_back_as_it_went_in(
    store: VectorStore, metadata: dict[str, MetadataValue], title: str, body: str
) -> None:
    """Every value with its type, every text with its characters."""
    given_one = replacement("doc", [f"pump {body}".replace("\x00", "")], metadata, title=title or "t")
    store.replace([given_one])
    with store.snapshot() as snapshot:
        (found,) = snapshot.contents(["doc"])
    assert found.document == given_one.document
    assert {n: type(v) for n, v in found.document.metadata.items()} == {n: type(v) for n, v in metadata.items()}
    assert list(found.chunks) == list(given_one.chunks)


@settings(relaxed, max_examples=100)
@given(stored=st.lists(st.one_of(numbers, texts, st.booleans()), min_size=1, max_size=4), wanted=st.data())
def test_comparisons_are_exact(store: VectorStore, stored: list[Scalar], wanted: Any) -> None:
    """Numbers by value over both types, texts by code point, nothing across types; as `matches` says."""
    value = wanted.draw(st.one_of(st.sampled_from(stored), numbers, texts))
    store.replace([replacement(f"d{i}", ["pump"], {"field": one}) for i, one in enumerate(stored)])
    store.delete([f"d{i}" for i in range(len(stored), 4)])
    with store.snapshot() as snapshot:
        infos = [info for info in snapshot.documents() if info.doc_id.startswith("d") and info.doc_id != "doc"]
        for op in ("$eq", "$gt", "$gte", "$lt", "$lte"):
            node: Filter = Compare("field", op, value)
            expected = [info.doc_id for info in infos if filters.matches(node, info)]
            assert [info.doc_id for info in snapshot.documents(filter=node) if info.doc_id != "doc"] == expected, op


def test_filters_as_large_and_as_deep_as_they_come(store: VectorStore) -> None:
    """Ten thousand alternatives of every shape, and a tree deeper than can be parsed."""
    store.replace([replacement("d0", ["pump"], {"n": 5, "tag": ("a", "b")}), replacement("d1", ["pump"], {"n": 7})])
    deep: Filter = Compare("n", "$eq", 5)
    for _ in range(60):
        deep = Not(And((deep, Or((deep_leaf(), In("tag", ("a",)))))))
    for node, expected in (
        (Or((*(Compare("n", "$gt", 100 + i) for i in range(9_999)), Compare("n", "$gt", 6))), ["d1"]),
        (Or((*(Compare(f"f{i}", "$eq", i) for i in range(9_999)), Compare("n", "$eq", 5))), ["d0"]),
        (Or((*(Compare("tag", "$eq", f"v{i}") for i in range(9_999)), In("tag", ("b", 1)))), ["d0"]),
        (In("n", tuple(range(10_000))), ["d0", "d1"]),
        (In("doc_id", tuple(f"d{i}" for i in range(1, 10_000))), ["d1"]),
    ):
        with store.snapshot() as snapshot:
            found = [info.doc_id for info in snapshot.documents(filter=node) if info.doc_id in ("d0", "d1")]
        assert found == expected
    with store.snapshot() as snapshot:
        infos = {info.doc_id: info for info in snapshot.documents()}
        found = [info.doc_id for info in snapshot.documents(filter=deep)]
        assert found == [doc_id for doc_id, info in infos.items() if filters.matches(deep, info)]


def deep_leaf() -> Filter:
    return Compare("n", "$lt", 6)


def test_equality_is_answered_by_the_index(store: VectorStore) -> None:
    """A collection's own entries only: another tenant's documents with the same value are not even looked at."""
    with store.snapshot() as snapshot:
        connection = snapshot._connection  # type: ignore[attr-defined]
        connection.execute("SET LOCAL enable_seqscan = off")
        connection.execute("SET LOCAL enable_indexscan = off")
        key = store.collection_key  # type: ignore[attr-defined]
        for test in ('@ == "a"', '@ == "a" || @ == 7'):
            path = f'$."{key}"."tag"[*] ? ({test})'
            query = snapshot._schema.statement("EXPLAIN SELECT FROM {document} d WHERE d.metadata @? %s::jsonpath")  # type: ignore[attr-defined]
            plan = "\n".join(line for (line,) in connection.execute(query, [path]))
            assert "document_metadata" in plan


def test_what_passes_is_remembered_until_the_next_commit(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked once for each filter and commit; filters that Python calls equal are told apart."""
    asked: list[object] = []
    find = PgvectorSnapshot._find_passing

    def ask(snapshot: PgvectorSnapshot, node: Filter) -> Passing:
        asked.append(node)
        return find(snapshot, node)

    monkeypatch.setattr(PgvectorSnapshot, "_find_passing", ask)
    query = FakeEmbedder().embed_queries(["pump"])[0]

    def search(value: Scalar) -> list[str]:
        node = filters.parse({"kind": value})
        with store.snapshot() as snapshot:
            dense = snapshot.search_dense(query, k=100, filter=node)
            assert len(snapshot.search_lexical({"pump": 1.0}, k=100, filter=node)) == len(dense)
        return sorted(hit.chunk_id for hit in dense)

    kinds: tuple[Scalar, ...] = (True, 1, "1")
    store.replace([replacement(f"k{i}", ["pump"], {"kind": value}) for i, value in enumerate(kinds)])
    for _ in range(2):
        assert [search(value) for value in (*kinds, "none")] == [
            ["k0:000000"], ["k1:000000"], ["k2:000000"], [],
        ]  # fmt: skip
    assert len(asked) == 4
    store.replace([replacement("k3", ["pump"], {"kind": 1})])
    assert search(1) == ["k1:000000", "k3:000000"]


def test_collections_used_last_stay_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that were opened last: the one that everybody searches was opened first."""
    monkeypatch.setattr(store_module, "_KNOWN_EDITIONS", 2)
    collections = PgvectorCollections("postgresql://h", password_file=None, schema="s", connections=2, timeout=1.0)
    first = collections.lexical_index(1)
    for other in (2, 3, 4):
        collections.lexical_index(other)
        assert collections.lexical_index(1) is first


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers used last stay, and one that is larger than the limit is not kept at all."""
    monkeypatch.setattr(passing, "_REMEMBERED_BYTES", 4_500)  # two filters with small answers
    cache = PassingCache()
    asked: list[int] = []

    def ask(number: int, documents: int) -> None:
        def find() -> Passing:
            asked.append(number)
            return Passing(np.zeros((documents, 3), dtype=np.int64))

        assert len(cache.get(1, 1, Compare("n", "$eq", number), find)) == documents

    for number, documents in ((1, 3), (2, 0), (1, 3), (3, 3), (1, 3), (2, 0), (4, 200), (2, 0)):
        ask(number, documents)
    assert asked == [1, 2, 3, 2, 4]


@given(value=st.one_of(texts, numbers, st.booleans()))
def test_json_is_what_python_reads(value: Scalar) -> None:
    """The text of a value is JSON of the same type."""
    found = json.loads(json_text(value))
    assert type(found) is type(value)
    assert (unescape(found) if isinstance(found, str) else found) == value


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=6))
def test_ranges_of_keys(steps: list[tuple[int, int]]) -> None:
    """Given in any order, they come out ascending."""
    first = 1
    found: list[tuple[int, int]] = []
    expected: list[int] = []
    for gap, count in steps:
        found.append((first + gap, count))
        expected += range(first + gap, first + gap + count)
        first += gap + count
    shuffled = np.array(found[::-1], dtype=np.int64).reshape(-1, 2)
    assert arrays.ranges(shuffled).tolist() == expected

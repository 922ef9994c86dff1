"""Filters mean the same in every store: generated ones, against `filters.matches`."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval import filters
from retrieval.build import build_collections
from retrieval.ports import VectorStore
from retrieval.records import MetadataValue
from tests.contract.conftest import NewPlace
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

FIELDS = ["year", "tag", "ok", "odd name \"'$%", "doc_id", "title", "nowhere"]
SCALARS: list[Any] = [
    0, 1, 1.0, 2.5, -3, 2**53, 2**62, True, False, "", "a", "A", "ä", "1", "true", "Z%_'\"\\", "\U0001f600", "d3",
    "x\x00y",
]  # fmt: skip
DOCUMENTS: dict[str, dict[str, MetadataValue]] = {
    "d0": {},
    "d1": {"year": 1, "tag": "a", "ok": True},
    "d2": {"year": 2.5, "tag": ("a", "A", "ä"), "ok": False},
    "d3": {"year": "1", "tag": (), "odd name \"'$%": "Z%_'\"\\"},
    "d4": {"year": (0, 1, 2**53), "tag": "\U0001f600", "ok": "true"},
    "d5": {"year": 2**62, "tag": "", "odd name \"'$%": -3},
    "d6": {"year": 1.0, "tag": ("x\x00y", "x\x00y")},
}

scalars = st.sampled_from(SCALARS)
conditions = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), scalars),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=4)),
    st.tuples(st.just("$exists"), st.booleans()),
).map(lambda pair: dict([pair]))
leaves = st.one_of(
    st.tuples(st.sampled_from(FIELDS), scalars).map(lambda pair: dict([pair])),
    st.tuples(st.sampled_from(FIELDS), conditions).map(lambda pair: dict([pair])),
    st.tuples(st.sampled_from(FIELDS), conditions.map(lambda c: {"$not": c})).map(lambda pair: dict([pair])),
    st.just({}),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def filled(new_place: NewPlace) -> Iterator[VectorStore]:
    collections = build_collections(new_place())
    collections.create("c", embedder=FakeEmbedder().info)
    store = collections.open("c", writable=True)
    store.replace([replacement(doc_id, [f"text of {doc_id}"], metadata) for doc_id, metadata in DOCUMENTS.items()])
    yield store
    store.close()
    collections.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=trees)
def test_filters_mean_what_matches_says(filled: VectorStore, data: dict[str, Any]) -> None:
    """Listing, dense and lexical search let through exactly the documents that `matches` does."""
    node = filters.parse(data)
    with filled.snapshot() as snapshot:
        infos = {info.doc_id: info for info in snapshot.documents(limit=100)}
        expected = [doc_id for doc_id in sorted(DOCUMENTS) if filters.matches(node, infos[doc_id])]
        assert [info.doc_id for info in snapshot.documents(filter=node)] == expected
        vector = FakeEmbedder().embed_queries(["text of"])[0]
        for hits in (
            snapshot.search_dense(vector, k=100, filter=node),
            snapshot.search_lexical({"text": 1.0}, k=100, filter=node),
        ):
            assert sorted(hit.chunk_id.split(":")[0] for hit in hits) == expected


def test_metadata_comes_back_as_it_went_in(filled: VectorStore) -> None:
    """Types survive: booleans stay booleans, lists become tuples, text keeps its characters."""
    with filled.snapshot() as snapshot:
        for info in snapshot.documents():
            assert dict(info.metadata) == DOCUMENTS[info.doc_id]
            assert {k: type(v) for k, v in info.metadata.items()} == {
                k: type(v) for k, v in DOCUMENTS[info.doc_id].items()
            }


NUMBERS: list[MetadataValue] = [
    0.0, 0.1 + 0.2, 1e15, 123456789.0, 1e18, -1e18, 5e-324, 2.0**62, 2**53 + 1, 2.0**53, -(2**63), 2**63 - 1,
    (1.0, 2.0), (2**62, 1), (1, 2.5),
]  # fmt: skip


def test_numbers_come_back_to_the_last_bit(store: VectorStore, oracle: VectorStore) -> None:
    """The greatest, the smallest, what JSON would round (not the sign of 0); each is found as by the oracle."""
    documents = [replacement(f"d{i:02d}", ["text"], {"x": number}) for i, number in enumerate(NUMBERS)]
    for each in (store, oracle):
        each.replace(documents)
    with store.snapshot() as mine, oracle.snapshot() as theirs:
        assert [repr(info.metadata["x"]) for info in mine.documents()] == [repr(number) for number in NUMBERS]
        for number in NUMBERS:
            for value in number if isinstance(number, tuple) else (number,):
                for operator in ("$eq", "$lt", "$gte", "$ne"):
                    node = filters.parse({"x": {operator: value}})
                    assert mine.documents(filter=node) == theirs.documents(filter=node), (operator, value)


def test_a_large_filter_works(filled: VectorStore) -> None:
    """Ten thousand values are one question, whether in one list or in as many alternatives."""
    many: list[Any] = [f"v{i}" for i in range(9_998)]
    with filled.snapshot() as snapshot:
        listed = filters.parse({"tag": {"$in": [*many, "a"]}})
        chained = filters.parse({"$or": [{"tag": value} for value in [*many[:3000], "a"]]})
        assert [info.doc_id for info in snapshot.documents(filter=listed)] == ["d1", "d2"]
        assert [info.doc_id for info in snapshot.documents(filter=chained)] == ["d1", "d2"]


def test_documents_page_by_id(filled: VectorStore) -> None:
    """`after` and `limit` walk through all documents once."""
    seen: list[str] = []
    with filled.snapshot() as snapshot:
        while page := snapshot.documents(after=seen[-1] if seen else "", limit=3):
            seen += [info.doc_id for info in page]
    assert seen == sorted(DOCUMENTS)


@pytest.mark.parametrize("values", [(1, True), (True, 1)])
def test_filters_that_are_equal_in_python_are_told_apart(filled: VectorStore, values: tuple[Any, Any]) -> None:
    """A snapshot may remember what passed a filter, but that of 1 is not that of true."""
    with filled.snapshot() as snapshot:
        for value in values:
            hits = snapshot.search_lexical({"text": 1.0}, k=100, filter=filters.parse({"year": value}))
            found = sorted(hit.chunk_id.split(":")[0] for hit in hits)
            assert found == ([] if value is True else ["d1", "d4", "d6"])

"""Random operations on a store and on the memory store together: whatever happens, both say the same."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from retrieval.build import build_collections
from retrieval.ports import Snapshot
from retrieval.settings import RetrievalSettings
from retrieval.stores.faiss import index_writer
from tests.contract.conftest import NewPlace
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

WORDS = ["pump", "valve", "bar", "filter", "the", "P-1043", "北京", "oil"]
doc_ids = st.sampled_from(["a", "b", "c", "d", "e"])
texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), max_size=4)
batches = st.lists(st.tuples(doc_ids, texts), min_size=1, max_size=4, unique_by=lambda pair: pair[0])


class StoreAndOracle(RuleBasedStateMachine):
    """`new_place` is set by the test."""

    new_place: NewPlace

    def __init__(self) -> None:
        super().__init__()
        self.collections = build_collections(self.new_place())
        oracle = build_collections(RetrievalSettings(store="memory"))
        for each in (self.collections, oracle):
            each.create("c", embedder=FakeEmbedder().info)
        self.store = self.collections.open("c", writable=True)
        self.reader = self.collections.open("c")
        self.oracle = oracle.open("c", writable=True)

    @rule(batch=batches)
    def replace(self, batch: list[tuple[str, list[str]]]) -> None:
        replacements = [replacement(doc_id, parts, {"n": len(parts)}) for doc_id, parts in batch]
        self.store.replace(replacements)
        self.oracle.replace(replacements)

    @rule(gone=st.lists(doc_ids, max_size=3))
    def delete(self, gone: list[str]) -> None:
        assert self.store.delete(gone) == self.oracle.delete(gone)

    @rule(doc_id=doc_ids)
    def record(self, doc_id: str) -> None:
        for store in (self.store, self.oracle):
            store.record([source_of(doc_id, status="failed")])

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.collections.open("c", writable=True)

    @invariant()
    def same(self) -> None:
        with self.oracle.snapshot() as expected:
            for store in (self.store, self.reader):
                with store.snapshot() as actual:
                    assert seen(actual) == seen(expected)

    def teardown(self) -> None:
        self.store.close()
        self.reader.close()
        self.collections.close()


def seen(snapshot: Snapshot) -> object:
    """All that a caller can see, but for the count of commits (an index may have been written in between)."""
    vector = FakeEmbedder().embed_queries(["pump bar"])[0]
    return (
        snapshot.search_dense(vector, k=5),
        snapshot.search_dense(vector, k=100),
        snapshot.search_lexical({"pump": 1.0, "p-1043": 0.5, "北京": 1.0}, k=100),
        snapshot.documents(),
        [snapshot.document(info.doc_id) for info in snapshot.documents()],
        snapshot.sources(),
        (snapshot.info.documents, snapshot.info.chunks, snapshot.info.fields),
    )


def test_random_operations_agree_with_the_oracle(new_place: NewPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replacing, deleting, failing and reopening in any order, with flushes and merges all the time."""
    monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 4)
    monkeypatch.setattr(index_writer, "MERGE_FACTOR", 2)
    monkeypatch.setattr(StoreAndOracle, "new_place", staticmethod(new_place), raising=False)
    run_state_machine_as_test(
        StoreAndOracle,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

"""Random operations on a store and on the memory store together: whatever happens, both say the same."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from retrieval.build import build_collections
from retrieval.errors import FootnoteError
from retrieval.ports import Replacement, Snapshot, VectorStore
from retrieval.records import Chunking
from retrieval.settings import RetrievalSettings
from tests.contract.conftest import NewPlace
from tests.corpus import replacement, source_of
from tests.fakes import FakeEmbedder

WORDS = ["pump", "valve", "bar", "filter", "the", "P-1043", "北京", "oil"]
EMBEDDERS = {
    name: FakeEmbedder(dimension, name=name, token_code=code)
    for name, dimension, code in (("fake", 64, ""), ("wide", 96, "wide-1"), ("slim", 8, "slim-1"))
}
TERMS = {"pump": 1.0, "p-1043": 0.5, "北京": 1.0}
MOST_EDITIONS = 3
doc_ids = st.sampled_from(["a", "b", "c", "d'\"é", "e%_\\"])
texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), max_size=4)
batches = st.lists(st.tuples(doc_ids, texts), min_size=1, max_size=4, unique_by=lambda pair: pair[0])
numbers = st.integers(1, 6)
writers = st.integers(0, 1)


class StoreAndOracle(RuleBasedStateMachine):
    """`new_place` is set by the test."""

    new_place: NewPlace

    def __init__(self) -> None:
        super().__init__()
        self.collections = build_collections(self.new_place())
        oracle = build_collections(RetrievalSettings(store="memory"))
        for each in (self.collections, oracle):
            each.create("c", embedder=EMBEDDERS["fake"].info)
        self.stores = [self.collections.open("c", writable=True) for _ in range(2)]
        self.reader = self.collections.open("c")
        self.oracle = oracle.open("c", writable=True)
        self.held = ExitStack()
        self.pair: tuple[Snapshot, object] | None = None

    @rule(writer=writers, batch=batches, edition=st.one_of(st.none(), numbers))
    def replace(self, writer: int, batch: list[tuple[str, list[str]]], edition: int | None) -> None:
        """For the live edition, or with the number of one that may not be live (any more)."""
        with self.oracle.snapshot() as snapshot:
            embedder = EMBEDDERS[snapshot.info.embedder.name]
        replacements = [replacement(doc_id, parts, {"n": len(parts)}, embedder=embedder) for doc_id, parts in batch]
        self.both(writer, lambda store: store.replace(replacements, edition=edition))

    @rule(writer=writers, gone=st.lists(doc_ids, max_size=3))
    def delete(self, writer: int, gone: list[str]) -> None:
        self.both(writer, lambda store: store.delete(gone))

    @rule(writer=writers, doc_id=doc_ids)
    def record(self, writer: int, doc_id: str) -> None:
        self.both(writer, lambda store: store.record([source_of(doc_id, status="failed")]))

    @precondition(lambda self: len(self.editions()) < MOST_EDITIONS)
    @rule(writer=writers, name=st.sampled_from(sorted(EMBEDDERS)))
    def add_edition(self, writer: int, name: str) -> None:
        chunking = Chunking(chunk_tokens=50)
        code = EMBEDDERS[name].token_code
        self.both(
            writer, lambda store: store.add_edition(embedder=EMBEDDERS[name].info, chunking=chunking, token_code=code)
        )

    @rule(writer=writers, edition=numbers, some=st.lists(doc_ids, max_size=5, unique=True))
    def index(self, writer: int, edition: int, some: list[str]) -> None:
        """Documents as they stand, each in one chunk, with the vectors of that edition."""
        with self.oracle.snapshot() as snapshot:
            documents = [one.document for one in snapshot.contents(some)]
        cut = [(one.doc_id, [one.text] if one.text else []) for one in documents]
        self.index_batch(writer, edition, cut)

    @rule(writer=writers, edition=numbers, batch=batches)
    def index_batch(self, writer: int, edition: int, batch: list[tuple[str, list[str]]]) -> None:
        """Documents that may have been replaced or deleted since, or never were there."""
        with self.oracle.snapshot() as snapshot:
            names = {one.number: one.embedder.name for one in snapshot.info.editions}
        embedder = EMBEDDERS[names.get(edition, "fake")]
        replacements = [replacement(doc_id, parts, embedder=embedder) for doc_id, parts in batch]
        self.both(writer, lambda store: store.index(replacements, edition=edition))

    @rule(writer=writers, edition=numbers)
    def switch(self, writer: int, edition: int) -> None:
        self.both(writer, lambda store: store.switch(edition))

    @rule(writer=writers, edition=numbers)
    def drop_edition(self, writer: int, edition: int) -> None:
        self.both(writer, lambda store: store.drop_edition(edition))

    @rule(writer=writers)
    def reopen(self, writer: int) -> None:
        self.stores[writer].close()
        self.stores[writer] = self.collections.open("c", writable=True)

    @rule(edition=st.one_of(st.none(), st.sampled_from([1, 2])))
    def hold(self, edition: int | None) -> None:
        """Keep a snapshot open while others write; it goes on showing what it showed."""
        self.let_go()
        if edition is None or edition in self.editions():
            with self.oracle.snapshot(edition=edition) as expected:
                self.pair = self.held.enter_context(self.reader.snapshot(edition=edition)), seen(expected)

    @rule()
    def let_go(self) -> None:
        self.held.close()
        self.pair = None

    @precondition(lambda self: self.pair is None)
    @rule()
    def purge(self) -> None:
        """What is there stays as it is."""
        with closing(self.collections.keeper("c")) as keeper:
            keeper.purge()
        self.check()

    @invariant()
    def same(self) -> None:
        """Through every edition, from each handle."""
        for number in [None, *self.editions()]:
            with self.oracle.snapshot(edition=number) as expected:
                for store in (self.stores[0], self.reader) if number is None else (self.stores[1],):
                    with store.snapshot(edition=number) as actual:
                        assert seen(actual) == seen(expected)
        if self.pair:
            assert seen(self.pair[0]) == self.pair[1]

    def check(self) -> None:
        """Nothing that is done on purpose is damage, but for an index whose build gave up waiting for our snapshot."""
        with closing(self.collections.keeper("c")) as keeper:
            assert [finding for finding in keeper.check() if finding.kind != "unfinished-index"] == []

    def teardown(self) -> None:
        self.check()
        self.held.close()
        for store in (*self.stores, self.reader):
            store.close()
        self.collections.close()

    def editions(self) -> list[int]:
        with self.oracle.snapshot() as snapshot:
            return [edition.number for edition in snapshot.info.editions]

    def both(self, writer: int, action: Callable[[VectorStore], Any]) -> None:
        """The same result or the same error, in the same words."""
        assert outcome(lambda: action(self.stores[writer])) == outcome(lambda: action(self.oracle))


def outcome(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except FootnoteError as exc:
        return type(exc), str(exc)


def seen(snapshot: Snapshot) -> object:
    """All that a caller can see, but for the count of commits (an index may have been written in between)."""
    info = snapshot.info
    vector = EMBEDDERS[info.embedder.name].embed_queries(["pump bar"])[0]
    listed = snapshot.documents()
    contents = snapshot.contents([one.doc_id for one in reversed(listed)])
    chunk_ids = [chunk.chunk_id for content in contents for chunk in content.chunks]
    parts = snapshot.term_scores(TERMS, chunk_ids)
    return (
        snapshot.search_dense(vector, k=5),
        snapshot.search_dense(vector, k=100),
        snapshot.search_lexical(TERMS, k=100),
        (parts.terms, parts.chunks.tolist(), parts.idf.round(9).tolist(), parts.scores.round(9).tolist()),
        listed,
        snapshot.documents(unindexed=True),
        [read(content) for content in contents],
        snapshot.token_vectors(chunk_ids),
        snapshot.sources(),
        (info.documents, info.chunks, info.fields, info.live, info.edition.number),
        [(one.number, one.embedder, one.chunking, one.token_code, one.chunks) for one in info.editions],
        [one.documents for one in info.editions],
    )


def read(content: Replacement) -> object:
    return (
        content.document, list(content.chunks), content.vectors.tobytes(), list(content.token_vectors), content.source,
    )  # fmt: skip


@pytest.fixture
def _restless(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Indexes are written, merged and built all the time, not after thousands of chunks."""
    if kind == "faiss":
        from retrieval.stores.faiss import index_writer

        monkeypatch.setattr(index_writer, "FLUSH_CHUNKS", 4)
        monkeypatch.setattr(index_writer, "MERGE_FACTOR", 2)
    if kind == "pgvector":
        pytest.importorskip("psycopg")
        from retrieval.stores.pgvector import lexical_upkeep, upkeep

        monkeypatch.setattr(lexical_upkeep, "SMALL_CHUNKS", 4)
        monkeypatch.setattr(lexical_upkeep, "SMALL_SEGMENTS", 2)
        monkeypatch.setattr(lexical_upkeep, "MERGE_FACTOR", 2)
        monkeypatch.setattr(lexical_upkeep, "VACUUM_CHUNKS", 8)
        monkeypatch.setattr(upkeep, "BUILD_CHUNKS", 4)
        monkeypatch.setattr(upkeep, "BUILD_CHUNKS_WHILE_WRITING", 4)
        monkeypatch.setattr(upkeep, "_LOCK_TIMEOUT", "20ms")  # of a build that waits for the snapshot we hold


@pytest.mark.usefixtures("_restless")
def test_random_operations_agree_with_the_oracle(new_place: NewPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers, a reader, editions and open snapshots in any order, with merges and builds all the time."""
    monkeypatch.setattr(StoreAndOracle, "new_place", staticmethod(new_place), raising=False)
    run_state_machine_as_test(
        StoreAndOracle,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

"""What a search returns, in every store, compared with the memory store by value."""

import random
from typing import Any

import numpy as np
import pytest

from retrieval import filters
from retrieval.analysis import analyzer
from retrieval.errors import EmbedderMismatch
from retrieval.ports import Replacement, Snapshot, VectorStore
from retrieval.records import Hit
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

TEXTS = {
    "a": ["The pump starts at 40 bar.", "Stop the pump before cleaning the filter.", "Spare parts: P-1043, P-1044."],
    "b": ["Cleaning takes two hours.", "Die Pumpe läuft. Ünïcödé 北京大学 text.", "The pump, the pump, the pump!"],
    "c": ["Nothing here matches at all.", "An appendix about valves and gaskets."],
    "d": ["The pump starts at 40 bar.", "The pump starts at 40 bar."],
}
QUERIES = ["pump", "start the pump", "P-1043", "cleaning filter hours", "北京", "appendix about valves", "zzz", "the"]


def fill(*stores: VectorStore) -> None:
    for store in stores:
        store.replace([replacement(doc_id, texts, {"n": i}) for i, (doc_id, texts) in enumerate(TEXTS.items())])


def dense(snapshot: Snapshot, query: str, k: int = 10, filter: filters.Filter | None = None) -> list[Hit]:
    return snapshot.search_dense(FakeEmbedder().embed_queries([query])[0], k=k, filter=filter)


def lexical(snapshot: Snapshot, query: str, k: int = 10, filter: filters.Filter | None = None) -> list[Hit]:
    return snapshot.search_lexical(dict.fromkeys(analyzer("english").terms(query), 1.0), k=k, filter=filter)


def same(store: VectorStore, oracle: VectorStore) -> None:
    """Both stores answer every query alike: ids, order, scores."""
    with store.snapshot() as mine, oracle.snapshot() as theirs:
        for query in QUERIES:
            for k in (1, 3, 100):
                assert lexical(mine, query, k) == lexical(theirs, query, k), query
                assert dense(mine, query, k) == dense(theirs, query, k), query
        assert mine.info.documents == theirs.info.documents
        assert mine.info.chunks == theirs.info.chunks
        assert mine.info.fields == theirs.info.fields


def test_agrees_with_the_oracle(store: VectorStore, oracle: VectorStore) -> None:
    """Ids, order and scores are those of the exact store, for dense and for lexical search."""
    fill(store, oracle)
    same(store, oracle)
    with store.snapshot() as snapshot:
        assert lexical(snapshot, "pump"), "the queries must find something for this to mean anything"


def test_agrees_after_replacing_and_deleting(store: VectorStore, oracle: VectorStore) -> None:
    """Document frequencies, lengths and results follow every change at once and exactly."""
    for each in (store, oracle):
        fill(each)
        each.replace([replacement("b", ["A new pump text, much shorter."]), replacement("e", ["One more pump."])])
        each.delete(["d", "not there"])
    same(store, oracle)


def library() -> tuple[list[Replacement], list[str]]:
    """200 documents of 2 chunks over a vocabulary as skewed as a language's, and 20 queries."""
    chance = random.Random(7)
    words = [f"word{i}" for i in range(400)]
    weights = [1 / (i + 1) for i in range(400)]

    def text(most: int) -> str:
        return " ".join(chance.choices(words, weights, k=chance.randint(1, most)))

    documents = [replacement(f"d{i:03d}", [text(60), text(20)], {"n": i % 17, "even": i % 2 == 0}) for i in range(200)]
    return documents, [text(5) for _ in range(20)]


@pytest.mark.parametrize("kind", ["faiss", "pgvector"], indirect=True)
def test_a_library_is_ranked_as_by_the_oracle(store: VectorStore, oracle: VectorStore) -> None:
    """Ids, order and scores for many queries, with filters that keep much, little and nothing."""
    documents, queries = library()
    for each in (store, oracle):
        each.replace(documents)
        each.replace(documents[40:90])
        each.delete([one.document.doc_id for one in documents[:20]])
    kept: list[dict[str, Any]] = [{}, {"n": 3}, {"n": {"$lte": 11}}, {"$not": {"even": True}}, {"n": 99}]
    with store.snapshot() as mine, oracle.snapshot() as theirs:
        for data in kept:
            node = filters.parse(data)
            for query in queries:
                assert dense(mine, query, 10, node) == dense(theirs, query, 100, node)[:10], (query, data)
                assert lexical(mine, query, 100, node) == lexical(theirs, query, 100, node), (query, data)


def test_ties_are_broken_by_chunk_id_and_never_cut_at_random(store: VectorStore) -> None:
    """Forty equal chunks: the first k by id come out, for each k."""
    store.replace([replacement(f"t{i:02d}", ["Exactly the same words."]) for i in reversed(range(40))])
    expected = [f"t{i:02d}:000000" for i in range(40)]
    with store.snapshot() as snapshot:
        for k in (1, 7, 39, 40, 500):
            assert [hit.chunk_id for hit in dense(snapshot, "same words", k)] == expected[:k]
            assert [hit.chunk_id for hit in lexical(snapshot, "same words", k)] == expected[:k]


def test_scores_of_dense_search_are_cosines(store: VectorStore) -> None:
    """A text is at cosine 1 of itself."""
    fill(store)
    with store.snapshot() as snapshot:
        best = dense(snapshot, TEXTS["c"][1], 1)[0]
    assert best.chunk_id == "c:000001"
    assert best.score == pytest.approx(1.0, abs=1e-6)


def test_k_beyond_the_corpus_returns_all_there_is(store: VectorStore) -> None:
    """Dense search ranks every chunk, once."""
    fill(store)
    with store.snapshot() as snapshot:
        hits = dense(snapshot, "pump", 1000)
    assert len(hits) == len({hit.chunk_id for hit in hits}) == sum(map(len, TEXTS.values()))


def test_an_empty_collection_answers_with_nothing(store: VectorStore) -> None:
    """No chunks: no hits, no error."""
    with store.snapshot() as snapshot:
        assert dense(snapshot, "pump") == lexical(snapshot, "pump") == []
        assert snapshot.info.documents == 0


def test_lexical_search_without_terms_finds_nothing(store: VectorStore) -> None:
    """A query of stop words alone has no terms; that is an empty result."""
    fill(store)
    with store.snapshot() as snapshot:
        assert snapshot.search_lexical({}, k=10) == []
        assert lexical(snapshot, "the of and") == []


def test_term_weights_scale_scores(store: VectorStore) -> None:
    """Twice the weight is twice the score."""
    fill(store)
    with store.snapshot() as snapshot:
        once = snapshot.search_lexical({"pump": 1.0}, k=1)[0]
        twice = snapshot.search_lexical({"pump": 2.0}, k=1)[0]
    assert twice.score == pytest.approx(2 * once.score, abs=2e-6)


def test_filter_applies_before_k(store: VectorStore, oracle: VectorStore) -> None:
    """The only passing document is found though many others rank above it."""
    for each in (store, oracle):
        fill(each)
        each.replace([replacement(f"x{i}", ["pump pump pump"], {"n": 100}) for i in range(50)])
    only_a = filters.parse({"n": 0})
    with store.snapshot() as mine, oracle.snapshot() as theirs:
        assert [hit.chunk_id for hit in lexical(mine, "pump", 2, only_a)] == ["a:000000", "a:000001"]
        assert lexical(mine, "pump", 2, only_a) == lexical(theirs, "pump", 2, only_a)
        assert dense(mine, "pump", 2, only_a) == dense(theirs, "pump", 2, only_a)
        assert len(dense(mine, "pump", 10, only_a)) == 3


def test_vector_of_another_dimension_is_refused(store: VectorStore) -> None:
    """A query from another model cannot be compared: the message tells both sizes."""
    fill(store)
    with store.snapshot() as snapshot, pytest.raises(EmbedderMismatch, match="64 dimensions"):
        snapshot.search_dense(np.ones(3, dtype=np.float32), k=1)


def test_chunks_and_vectors_come_in_the_order_asked(store: VectorStore) -> None:
    """Fetching keeps the order and leaves out what is not there; a vector of an unknown id is a KeyError."""
    fill(store)
    ids = ["c:000001", "a:000002", "b:000000"]
    expected = FakeEmbedder().embed_documents([TEXTS["c"][1], TEXTS["a"][2], TEXTS["b"][0]])
    with store.snapshot() as snapshot:
        stored = snapshot.chunks([ids[0], "zz:000000", *ids[1:]])
        assert [found.chunk.chunk_id for found in stored] == ids
        assert [found.chunk.text for found in stored] == [TEXTS["c"][1], TEXTS["a"][2], TEXTS["b"][0]]
        assert stored[1].document.metadata == {"n": 0}
        np.testing.assert_allclose(snapshot.vectors(ids), expected, atol=1e-7)
        with pytest.raises(KeyError):
            snapshot.vectors(["zz:000000"])

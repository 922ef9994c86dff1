"""The path of one query, over the memory store."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from retrieval import feedback, filters
from retrieval.build import build_collections, build_embedders
from retrieval.errors import EmbedderMismatch, InvalidQuery, RerankerUnavailable, UnknownField
from retrieval.ports import SearchView, VectorStore
from retrieval.records import StoredChunk
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

TEXTS = {
    "manual": ["Start the pump at 40 bar.", "Clean the filter every week.", "Order part P-1043 from the depot."],
    "policy": ["Employees have 27 days of leave.", "Leave is asked for in writing."],
}


@pytest.fixture
def store() -> Iterator[VectorStore]:
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    opened = collections.open("c", writable=True)
    opened.replace([replacement(doc_id, texts, {"kind": doc_id}) for doc_id, texts in TEXTS.items()])
    yield opened
    opened.close()


def retriever(store: VectorStore, **settings: Any) -> Retriever:
    return Retriever(store, build_embedders(RetrievalSettings(), FakeEmbedder()), RetrievalSettings(**settings))


@pytest.mark.parametrize(
    "settings", [{}, {"fusion": "rrf"}, {"mode": "dense"}, {"mode": "lexical"}, {"feedback_weight": 0}]
)
def test_finds_the_chunk_that_answers(store: VectorStore, settings: dict[str, Any]) -> None:
    """In every mode, with its text, document and the scores of the stages."""
    found = retriever(store, **settings).retrieve("how many days of leave do employees have", k=2)
    assert found.chunks[0].chunk.text == "Employees have 27 days of leave."
    assert found.chunks[0].document.doc_id == "policy"
    assert set(found.chunks[0].stages) >= {settings.get("mode", "dense"), settings.get("mode", "lexical"), "fused"}
    scores = [scored.score for scored in found.chunks]
    assert scores == sorted(scores, reverse=True)
    assert found.timings.keys() >= {"embed", "fuse", "fetch"}


def test_a_filter_limits_every_stage(store: VectorStore) -> None:
    """Feedback and fusion see passing documents only."""
    found = retriever(store).retrieve("leave", k=10, filter=filters.parse({"kind": "manual"}))
    assert {scored.document.doc_id for scored in found.chunks} == {"manual"}


def test_a_field_that_no_document_has_is_an_error(store: VectorStore) -> None:
    """A typing error in a filter must not look like an empty result."""
    with pytest.raises(UnknownField, match="'knid'"):
        retriever(store).retrieve("leave", filter=filters.parse({"knid": "manual"}))


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [("", 5, "empty"), (" \n\t", 5, "empty"), ("x" * 100_000, 5, "100,000 characters"), ("x", 0, "k = 0"),
     ("x", 10**6, "k = 1000000"), ("x", -1, "k = -1")],
)  # fmt: skip
def test_impossible_queries_are_refused(store: VectorStore, query: str, k: int, message: str) -> None:
    """What, which value, what to do."""
    with pytest.raises(InvalidQuery, match=message):
        retriever(store).retrieve(query, k=k)


def test_another_model_is_refused(store: VectorStore) -> None:
    """The message names both models and what to do."""
    other = Retriever(store, build_embedders(RetrievalSettings(), FakeEmbedder(name="other")), RetrievalSettings())
    with pytest.raises(EmbedderMismatch, match=r"embedded with 'fake'.*the model here is 'other'.*retrieval\.model"):
        other.retrieve("leave")


def test_an_empty_collection_gives_an_empty_result() -> None:
    """Also with a filter, whose fields cannot be known yet."""
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    found = retriever(collections.open("c")).retrieve("leave", filter=filters.parse({"kind": "x"}))
    assert found.chunks == ()


def test_all_comes_from_the_snapshot_given(store: VectorStore) -> None:
    """A replacement after the snapshot was taken does not show."""
    with store.snapshot() as snapshot:
        store.replace([replacement("policy", ["Nothing about holidays."])])
        found = retriever(store).retrieve("days of leave", k=1, snapshot=snapshot)
    assert found.chunks[0].chunk.text == "Employees have 27 days of leave."


def test_rocchio_moves_towards_the_centroid() -> None:
    """Half way between two unit vectors, of length 1 again."""
    query, centroid = np.array([1, 0], dtype=np.float32), np.array([[0, 1]], dtype=np.float32)
    np.testing.assert_allclose(feedback.rocchio(query, centroid, weight=0.5), [2**-0.5, 2**-0.5], rtol=1e-6)
    np.testing.assert_array_equal(feedback.rocchio(query, centroid, weight=0.0), query)
    np.testing.assert_array_equal(feedback.rocchio(query, centroid[:0], weight=0.5), query)


class Down:
    """A reranker whose server is not there."""

    name = "down"

    def rerank(self, query: str, chunks: Sequence[StoredChunk], *, snapshot: SearchView) -> list[float]:
        """Never."""
        raise RerankerUnavailable("http://10.0.0.7 cannot be reached")


def test_why_there_was_no_reranking_is_for_the_log(store: VectorStore, caplog: pytest.LogCaptureFixture) -> None:
    """A caller of the API is told neither addresses nor what other servers say; who runs the server has to know."""
    settings = RetrievalSettings(rerank_required=False)
    opened = Retriever(store, build_embedders(settings, FakeEmbedder()), settings, reranker=Down())
    found = opened.retrieve("leave")
    assert found.notes == ("not reranked: 'down' failed; the log has the reason",)
    assert "http://10.0.0.7 cannot be reached" in caplog.text

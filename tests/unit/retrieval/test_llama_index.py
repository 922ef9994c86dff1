"""Footnote as a LlamaIndex retriever, driven by LlamaIndex itself."""

from collections.abc import Iterator

import pytest

from retrieval.build import build_collections, build_embedders
from retrieval.errors import InvalidFilter
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings
from tests.corpus import replacement
from tests.fakes import FakeEmbedder

pytest.importorskip("llama_index.core")
llama_index = pytest.importorskip("retrieval.llama_index")


@pytest.fixture
def retriever() -> Iterator[Retriever]:
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("c", embedder=FakeEmbedder().info)
    store = collections.open("c", writable=True)
    store.replace(
        [replacement("policy", ["Employees have 27 days of leave.", "Ask in writing."], {"tags": ("hr", "x")})]
    )
    store.replace([replacement("manual", ["Start the pump at 40 bar."], {"tags": ("tech",)})])
    yield Retriever(store, build_embedders(RetrievalSettings(), FakeEmbedder()), RetrievalSettings())
    store.close()


def test_nodes_can_be_cited_exactly(retriever: Retriever) -> None:
    """Text, score, offsets and document of the best chunk."""
    first = llama_index.FootnoteRetriever(retriever, k=2).retrieve("how many days of leave")[0]
    assert first.node.text == "Employees have 27 days of leave."
    assert (first.node.node_id, first.node.ref_doc_id) == ("policy:000000", "policy")
    assert (first.node.start_char_idx, first.node.end_char_idx) == (0, 32)
    assert first.node.metadata["tags"] == ["hr", "x"]
    assert first.score > 0


def test_a_query_engine_answers_from_footnote(retriever: Retriever) -> None:
    """LlamaIndex's own engine, with its mock model, passes our chunks on."""
    from llama_index.core.llms import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine

    engine = RetrieverQueryEngine.from_args(llama_index.FootnoteRetriever(retriever), llm=MockLLM())
    response = engine.query("how many days of leave")
    assert "27 days" in str(response)
    assert response.source_nodes[0].node.metadata["doc_id"] == "policy"


def test_filters_are_footnotes_own(retriever: Retriever) -> None:
    """The JSON form, checked when the retriever is made."""
    found = llama_index.FootnoteRetriever(retriever, filter={"tags": "tech"}).retrieve("leave")
    assert {node.node.ref_doc_id for node in found} == {"manual"}
    with pytest.raises(InvalidFilter, match="unknown operator"):
        llama_index.FootnoteRetriever(retriever, filter={"tags": {"$like": "x"}})

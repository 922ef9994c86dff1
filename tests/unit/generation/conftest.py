"""A small collection about a ferry company, and what stands on it."""

from collections.abc import Callable

import pytest

from generation.answerer import Answerer
from generation.ports import ChatModel
from generation.settings import GenerationSettings
from retrieval.build import build_collections, build_embedders, build_retriever
from retrieval.ports import VectorStore
from retrieval.retriever import Retriever
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder
from tests.unit.generation.ferry import TEXTS, AnswererOf, replacement


@pytest.fixture(scope="session")
def embedder() -> FakeEmbedder:
    """Words that are equal are near; enough dimensions that others are not."""
    return FakeEmbedder(512)


@pytest.fixture
def store(embedder: FakeEmbedder) -> VectorStore:
    """A writable collection 'ferry' of three documents, one chunk each."""
    collections = build_collections(RetrievalSettings(store="memory"))
    collections.create("ferry", embedder=embedder.info)
    opened = collections.open("ferry", writable=True)
    opened.replace([replacement(doc_id, text, embedder) for doc_id, text in TEXTS.items()])
    return opened


@pytest.fixture
def replace(store: VectorStore, embedder: FakeEmbedder) -> Callable[[str, str], None]:
    """Puts another text in the place of a document."""

    def put(doc_id: str, text: str) -> None:
        store.replace([replacement(doc_id, text, embedder)])

    return put


@pytest.fixture
def retriever(store: VectorStore, embedder: FakeEmbedder) -> Retriever:
    """Over the collection, with default settings."""
    return build_retriever(store, build_embedders(RetrievalSettings(), embedder), RetrievalSettings(store="memory"))


@pytest.fixture
def answerer_of(retriever: Retriever) -> AnswererOf:
    """An answerer with the given chat model that declines nothing by evidence."""

    def make(model: ChatModel) -> Answerer:
        return Answerer(retriever, model, GenerationSettings(threshold=0.0))

    return make

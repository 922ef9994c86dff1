"""Every test here runs against every store; `oracle` is the memory store that defines what is right."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.build import build_collections
from retrieval.ports import Collections, VectorStore
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

STORES = ["memory", "faiss"]


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def collections(kind: str, tmp_path: Path) -> Collections:
    return build_collections(RetrievalSettings(store=kind, path=tmp_path / "data"))


@pytest.fixture
def store(collections: Collections) -> Iterator[VectorStore]:
    collections.create("c", embedder=FakeEmbedder().info)
    opened = collections.open("c", writable=True)
    yield opened
    opened.close()


@pytest.fixture
def oracle() -> Iterator[VectorStore]:
    memory = build_collections(RetrievalSettings(store="memory"))
    memory.create("c", embedder=FakeEmbedder().info)
    opened = memory.open("c", writable=True)
    yield opened
    opened.close()

"""Every test here runs against every store; `oracle` is the memory store that defines what is right."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from retrieval.build import build_collections
from retrieval.ports import Collections, VectorStore
from retrieval.settings import RetrievalSettings
from tests import postgres
from tests.fakes import FakeEmbedder

STORES = ["memory", "faiss", "pgvector"]

NewPlace = Callable[[], RetrievalSettings]
"""Settings of a place that holds no collections yet; each call gives another one."""


@pytest.fixture(scope="module", params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def new_place(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[NewPlace]:
    with ExitStack() as cleanup:

        def make() -> RetrievalSettings:
            if kind != "pgvector":
                return RetrievalSettings(store=kind, path=tmp_path_factory.mktemp("data"))
            url, name = request.getfixturevalue("postgres_url"), postgres.schema()
            if postgres.is_lent():
                cleanup.callback(postgres.drop, url, name)
            return RetrievalSettings(store="pgvector", postgres_url=url, postgres_schema=name)

        yield make


@pytest.fixture
def place(new_place: NewPlace) -> RetrievalSettings:
    return new_place()


@pytest.fixture
def collections(place: RetrievalSettings) -> Iterator[Collections]:
    opened = build_collections(place)
    yield opened
    opened.close()


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

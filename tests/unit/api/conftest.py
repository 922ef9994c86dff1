"""The application around fakes, and a client for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.services import OpenCollection, Services
from api.settings import ApiSettings
from tests.fakes import FakeEmbedder
from tests.unit.api.fakes import FakeAnswerer, FakeCollections, FakeRetriever, FakeStore


class Stage:
    """The fakes of one test, to look at and to rig."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.collections = FakeCollections({"demo": self.store, "other": FakeStore(())})
        self.answerer = FakeAnswerer(FakeRetriever(self.store))

    def services(self) -> Services:
        """Services over the fakes; every collection answers through the same answerer."""
        return Services(
            collections=self.collections,
            embedder=FakeEmbedder(),
            connect=lambda name, store: OpenCollection(name, store, FakeRetriever(store), self.answerer),
        )


@pytest.fixture
def stage() -> Stage:
    """Fresh fakes."""
    return Stage()


@pytest.fixture
def client_with(stage: Stage) -> Iterator[Callable[..., TestClient]]:
    """Makes a started client for the application with given settings."""
    with ExitStack() as stack:

        def make(**settings: object) -> TestClient:
            app = create_app(stage.services(), ApiSettings.model_validate(settings))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield make


@pytest.fixture
def client(client_with: Callable[..., TestClient]) -> TestClient:
    """A started client for the application with default settings."""
    return client_with()

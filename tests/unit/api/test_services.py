"""The services behind the routes: collections are opened once, and nothing stays open that nobody can close."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.services import OpenCollection, Services
from retrieval.errors import CollectionNotFound, EmbedderMismatch, StoreUnavailable
from retrieval.ports import VectorStore
from tests.fakes import FakeEmbedder
from tests.unit.api.conftest import Stage
from tests.unit.api.fakes import FakeStore


def test_many_threads_share_one_open_collection(stage: Stage) -> None:
    """Requests that arrive together open a collection once."""
    services = stage.services()
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(services.open, ["demo"] * 50))
    assert stage.collections.opened == ["demo"]
    assert all(each is opened[0] for each in opened)


def test_a_store_that_does_not_answer_is_asked_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that arrive together share the attempt and its error; other collections open meanwhile."""
    services, open_store = stage.services(), stage.collections.open
    stage.collections.stores["other"] = FakeStore(())
    asked: list[str] = []
    give_up = threading.Event()

    def stuck(name: str, *, writable: bool = False) -> VectorStore:
        if name == "other":
            return open_store(name)
        asked.append(name)
        assert give_up.wait(30)
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(stage.collections, "open", stuck)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(services.open, "demo") for _ in range(7)]
        assert pool.submit(services.open, "other").result(5).name == "other"
        time.sleep(0.1)  # for the last of them to arrive
        give_up.set()
        for each in waiting:
            with pytest.raises(StoreUnavailable):
                each.result(5)
    assert asked == ["demo"]
    monkeypatch.undo()
    assert services.open("demo").name == "demo"


def test_unknown_collection_is_looked_for_again(stage: Stage) -> None:
    """A collection that is made while the service runs is found without a restart."""
    services = stage.services()
    with pytest.raises(CollectionNotFound):
        services.open("late")
    stage.collections.stores["late"] = stage.store
    assert services.open("late").name == "late"


def test_collection_that_was_made_anew_is_opened_anew(stage: Stage) -> None:
    """After a drop and a new start under the same name, requests see the new collection, and the old one is closed."""
    services = stage.services()
    services.open("demo")
    stage.store.dropped = True
    with pytest.raises(CollectionNotFound):
        services.open("demo").store.snapshot()
    stage.collections.stores["demo"] = FakeStore(())
    assert services.open("demo").store is stage.collections.stores["demo"]
    assert stage.store.closed


def test_store_is_closed_when_it_does_not_fit(stage: Stage) -> None:
    """A collection of another model is refused each time, and its store does not stay open."""

    def refuse(name: str, store: VectorStore) -> OpenCollection:
        raise EmbedderMismatch(f"{name!r} was embedded with another model")

    services = Services(collections=stage.collections, embedder=FakeEmbedder(), connect=refuse)
    for _ in range(2):
        with pytest.raises(EmbedderMismatch):
            services.open("demo")
    assert stage.store.closed

"""What `footnote store check` looks for in a collection."""

from typing import Any

import pytest

from footnote.commands import stores
from retrieval.ports import Collections
from retrieval.stores.memory import MemoryCollections, MemorySnapshot
from tests.corpus import replacement
from tests.fakes import FakeEmbedder


@pytest.fixture
def collections() -> Collections:
    made = MemoryCollections()
    made.create("c", embedder=FakeEmbedder().info)
    store = made.open("c", writable=True)
    store.replace([replacement("empty", []), replacement("marks", ["..."]), replacement("whole", ["pump"])])
    return made


def test_a_collection_in_order(collections: Collections) -> None:
    """Documents without chunks, and chunks without words, are no damage."""
    assert stores._examine(collections, "c")["error"] == ""


@pytest.mark.parametrize(("search", "by"), [("search_dense", "its own vector"), ("search_lexical", "its own words")])
def test_what_an_index_has_lost(
    collections: Collections, monkeypatch: pytest.MonkeyPatch, search: str, by: str
) -> None:
    """A chunk that one of the two searches does not find."""
    collections.open("c", writable=True).delete(["marks"])

    def nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    monkeypatch.setattr(MemorySnapshot, search, nothing)
    assert by in stores._examine(collections, "c")["error"]

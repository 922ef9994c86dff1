"""For tests of the FAISS store: a folder with one empty collection, `c`."""

from pathlib import Path

import pytest

from retrieval.stores.faiss import FaissCollections
from tests.fakes import FakeEmbedder


@pytest.fixture
def collections(tmp_path: Path) -> FaissCollections:
    made = FaissCollections(tmp_path / "data")
    made.create("c", embedder=FakeEmbedder().info)
    return made

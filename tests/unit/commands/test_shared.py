"""How a command opens a collection, and how it leaves."""

import time
from pathlib import Path
from typing import Any

import pytest

from footnote.commands import shared
from retrieval.settings import RetrievalSettings
from retrieval.stores.faiss import FaissCollections
from retrieval.stores.faiss.store import FaissStore
from tests.fakes import FakeEmbedder


@pytest.fixture
def settings(tmp_path: Path) -> RetrievalSettings:
    FaissCollections(tmp_path).create("c", embedder=FakeEmbedder().info)
    return RetrievalSettings(path=tmp_path)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was closed."""
    names: list[str] = []
    for kind in (FaissStore, FaissCollections):
        monkeypatch.setattr(kind, "close", lambda self: names.append(type(self).__name__))
    return names


def test_a_collection_is_closed_at_the_end(settings: RetrievalSettings, closed: list[str]) -> None:
    """Also when the command fails."""
    with shared.open_store(settings, "c"):
        assert closed == []
    assert closed == ["FaissStore", "FaissCollections"]
    with pytest.raises(ValueError, match="of the command"), shared.open_store(settings, "c"):
        raise ValueError("of the command")
    assert len(closed) == 4


def test_who_says_stop_does_not_wait_for_indexes(settings: RetrievalSettings, closed: list[str]) -> None:
    """Closing may take minutes, and nothing that was acknowledged depends on it."""
    with pytest.raises(KeyboardInterrupt), shared.open_store(settings, "c", writable=True):
        raise KeyboardInterrupt
    assert closed == []


def test_a_long_wait_is_explained(
    settings: RetrievalSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, and only when there is something to wait for."""
    monkeypatch.setattr(shared, "_SILENCE", 0.05)
    with shared.open_store(settings, "c", writable=True):
        pass
    assert capsys.readouterr().err == ""
    close: Any = FaissStore.close

    def slow(self: FaissStore) -> None:
        time.sleep(0.5)
        close(self)

    monkeypatch.setattr(FaissStore, "close", slow)
    with shared.open_store(settings, "c", writable=True):
        pass
    captured = capsys.readouterr()
    assert "completing the indexes" in captured.err
    assert captured.out == ""

"""The embedder of an edition is found again by its description, whatever is configured now."""

from pathlib import Path

import pytest

from retrieval.build import build_embedder, build_embedders
from retrieval.embedders.manifest import SHIPPED
from retrieval.errors import EmbedderMismatch
from retrieval.records import EmbedderInfo
from retrieval.settings import RetrievalSettings
from tests.fakes import FakeEmbedder

MODEL = "all-MiniLM-L6-v2"


def link_of_the_shipped_model(folder: Path) -> Path:
    """A folder with the same files under another name."""
    folder.symlink_to(SHIPPED / MODEL, target_is_directory=True)
    return folder


def test_the_configured_one_is_taken_when_it_is_the_same() -> None:
    """Nothing else is opened, and it is opened once."""
    embedders = build_embedders(RetrievalSettings())
    info = build_embedder(RetrievalSettings()).info
    assert embedders.of(info) is embedders.of(info)
    assert (info.adapter, info.model) == ("onnx", MODEL)
    fake = FakeEmbedder()
    assert build_embedders(RetrievalSettings(), fake).of(fake.info) is fake


def test_another_one_is_opened_by_what_the_edition_remembers() -> None:
    """The collection was made with the shipped model; configured is something else by now."""
    info = build_embedder(RetrievalSettings()).info
    found = build_embedders(RetrievalSettings(model="other"), FakeEmbedder(name="other")).of(info)
    assert found.info == info
    assert found.embed_queries(["pump"]).shape == (1, 384)


def test_a_model_that_has_moved_is_still_the_same(tmp_path: Path) -> None:
    """Where it lies is no part of what it computes: the same files under another path will do."""
    first = build_embedder(RetrievalSettings(model=str(link_of_the_shipped_model(tmp_path / "a")))).info
    assert first.model == str(tmp_path / "a")
    (tmp_path / "a").unlink()
    assert build_embedders(RetrievalSettings()).of(first).info == first


def test_a_folder_is_remembered_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command may run in another directory."""
    link_of_the_shipped_model(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    info = build_embedder(RetrievalSettings(model="mine")).info
    assert info.model == str(tmp_path / "mine")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (EmbedderInfo("gone", "0" * 64, 64, 256, adapter="onnx", model="/nowhere/gone"), "cannot be opened.*unknown"),
        (EmbedderInfo("mine", "0" * 64, 64, 256, adapter="onnx", model=MODEL), "differs in its name.*reindex"),
        (EmbedderInfo("fake", "1" * 64, 64, 256), "differs in its files or settings"),
    ],
)
def test_what_cannot_be_had_is_refused(info: EmbedderInfo, message: str) -> None:
    """A model that is gone, or is not the one that it was: an error that says what to do, never another model."""
    with pytest.raises(EmbedderMismatch, match=message):
        build_embedders(RetrievalSettings(), FakeEmbedder()).of(info)

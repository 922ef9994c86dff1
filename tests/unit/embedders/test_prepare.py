"""Preparing models from sentence-transformers folders, on a tiny random BERT."""

import json
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedders.manifest import list_models
from retrieval.embedders.onnx import OnnxEmbedder
from retrieval.embedders.prepare import prepare
from retrieval.embedders.quantise import BLOCK, LIMIT, quantise_blocks
from retrieval.embedders.sentence_transformers import SentenceTransformersEmbedder
from retrieval.errors import ConfigError, ModelInvalid
from tests.unit.embedders.conftest import cosines, make_tiny_source, write_json

pytest.importorskip("onnx")
pytest.importorskip("sentence_transformers")

TEXTS = ["the pump is dry", "open the valve before first start", "oil pressure high " * 30, "q"]


@pytest.fixture(scope="module")
def models_path(tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    prepare(tiny_source, models_path=folder)
    return folder


def test_a_prepared_model_agrees_with_its_source(models_path: Path, tiny_source: Path) -> None:
    """Queries and documents, each with its prompt, have nearly the vectors of sentence-transformers."""
    ours, theirs = OnnxEmbedder(models_path / "tiny-bert"), SentenceTransformersEmbedder(str(tiny_source))
    assert cosines(ours.embed_queries(TEXTS), theirs.embed_queries(TEXTS)).min() >= 0.98
    assert cosines(ours.embed_documents(TEXTS), theirs.embed_documents(TEXTS)).min() >= 0.98
    assert not np.allclose(ours.embed_queries(TEXTS), ours.embed_documents(TEXTS), atol=0.01)


def test_the_manifest_describes_the_model(models_path: Path) -> None:
    """What the source says of itself is kept: window, pooling, prompts, licence."""
    manifest = next(m for m in list_models(models_path) if m.name == "tiny-bert")
    assert (manifest.dimension, manifest.window, manifest.pooling) == (128, 32, "mean")
    assert (manifest.query_prefix, manifest.document_prefix, manifest.licence) == ("query: ", "passage: ", "mit")
    assert manifest.cosine_min >= 0.98


def test_cls_pooling_is_supported(tmp_path: Path) -> None:
    """A model that takes the first token's vector is prepared as such."""
    source = make_tiny_source(tmp_path / "first", pooling="cls")
    assert prepare(source, models_path=tmp_path / "models").pooling == "cls"
    ours = OnnxEmbedder(tmp_path / "models" / "first").embed_documents(TEXTS)
    assert cosines(ours, SentenceTransformersEmbedder(str(source)).embed_documents(TEXTS)).min() >= 0.98


def test_other_pooling_is_refused(tmp_path: Path) -> None:
    """Max pooling is named as not supported, and nothing is left behind."""
    source = make_tiny_source(tmp_path / "greatest", pooling="max")
    with pytest.raises(ConfigError, match="pooling 'max'"):
        prepare(source, models_path=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_model_that_strays_is_refused(tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When quantising costs too much the error says how much, and no model folder appears."""
    monkeypatch.setattr("retrieval.embedders.prepare.REQUIRED_COSINE", 1.01)
    with pytest.raises(ModelInvalid, match=r"cosine 0\.9.*at least 1\.01"):
        prepare(tiny_source, models_path=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_taken_and_invalid_names_are_refused(models_path: Path, tiny_source: Path) -> None:
    """Neither a prepared nor a shipped model is overwritten, and a name is not a path."""
    for name in ("tiny-bert", "all-MiniLM-L6-v2"):
        with pytest.raises(ConfigError, match="exists already"):
            prepare(tiny_source, models_path=models_path, name=name)
    with pytest.raises(ConfigError, match=r"'\.\./up'"):
        prepare(tiny_source, models_path=models_path, name="../up")


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    """A name that is no folder and not in the local cache is not downloaded."""
    with pytest.raises(ConfigError, match="Footnote downloads nothing"):
        prepare("nobody/nothing-at-all", models_path=tmp_path)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """A folder without the files of a model gives one clear error."""
    (tmp_path / "empty").mkdir()
    write_json(tmp_path / "empty" / "config.json", {})
    with pytest.raises(ConfigError, match="cannot be loaded"):
        prepare(tmp_path / "empty", models_path=tmp_path / "models")


def test_blocks_restore_the_weights() -> None:
    """Codes times scales give the weights back within half a step, and codes keep to 7 bits."""
    weights = np.random.default_rng(3).normal(size=(2 * BLOCK, 5)).astype(np.float32)
    codes, scales = quantise_blocks(weights)
    steps = codes.astype(np.int32) - 128
    assert codes.shape == (5, 2, BLOCK)
    assert np.abs(steps).max() == LIMIT
    restored = (steps * scales.reshape(5, 2, 1)).reshape(5, 2 * BLOCK).T
    assert np.abs(restored - weights).max() <= scales.max() / 2 + 1e-6


def test_a_block_of_zeros_stays_zero() -> None:
    """Weights that are all zero do not divide by zero."""
    codes, scales = quantise_blocks(np.zeros((BLOCK, 2), dtype=np.float32))
    assert (codes == 128).all()
    assert np.isfinite(scales).all()


def test_manifests_are_readable_json(models_path: Path) -> None:
    """The manifest is plain, indented JSON: people read it."""
    text = (models_path / "tiny-bert" / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(text)["name"] == "tiny-bert"
    assert text.count("\n") > 10

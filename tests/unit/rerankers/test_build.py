"""Settings to rerankers."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from retrieval.build import build_reranker
from retrieval.errors import ConfigError, ModelInvalid
from retrieval.settings import RetrievalSettings


def _settings(**values: Any) -> RetrievalSettings:
    return RetrievalSettings.model_validate(values)


def test_there_is_none_by_default() -> None:
    """Reranking can hurt; who wants it says so."""
    assert build_reranker(RetrievalSettings()) is None


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"reranker": "http", "rerank_url": "http://localhost:1"}, "http:tei"),
        ({"reranker": "http", "rerank_url": "http://localhost:1/v1", "rerank_model": "m"}, "http:m"),
        ({"reranker": "http", "rerank_url": "http://localhost:1", "rerank_model": "m", "rerank_api": "tei"}, "http:m"),
        ({"reranker": "bedrock", "rerank_model": "amazon.rerank-v1:0", "rerank_region": "us-west-2"},
         "bedrock:amazon.rerank-v1:0"),
    ],
)  # fmt: skip
def test_services_are_built_without_a_call(values: dict[str, str], name: str) -> None:
    """Nothing listens there."""
    if values["reranker"] == "bedrock":
        pytest.importorskip("boto3")
    reranker = build_reranker(_settings(**values))
    assert reranker
    assert reranker.name == name


def test_local_models_are_built(tiny_models: Path, tiny_cross_encoder: Path) -> None:
    """A prepared one by its name or its folder, another one by its folder."""
    prepared = {"reranker": "onnx", "models_path": tiny_models}
    for model in ("tiny-ranker", str(tiny_models / "tiny-ranker")):
        reranker = build_reranker(_settings(**prepared, rerank_model=model))
        assert reranker
        assert reranker.name == "onnx:tiny-ranker"
    reranker = build_reranker(_settings(reranker="cross-encoder", rerank_model=str(tiny_cross_encoder)))
    assert reranker
    assert reranker.name == "cross-encoder:tiny-ranker"


@pytest.mark.parametrize("reranker", ["cross-encoder", "onnx", "bedrock"])
def test_a_model_must_be_named(reranker: str) -> None:
    """With an example."""
    with pytest.raises(ConfigError, match=rf"rerank_model is empty, the reranker '{reranker}' needs it; for example"):
        build_reranker(_settings(reranker=reranker))


def test_an_embedder_is_no_reranker() -> None:
    """The error says which setting takes it."""
    with pytest.raises(ModelInvalid, match=r"retrieval\.embedder = 'onnx' and retrieval\.model"):
        build_reranker(_settings(reranker="onnx", rerank_model="all-MiniLM-L6-v2"))


def test_the_listwise_one_is_made_elsewhere() -> None:
    """Chat models are a layer above; the error says so."""
    with pytest.raises(ConfigError, match=r"chat model of \[generation\]"):
        build_reranker(_settings(reranker="listwise"))


@pytest.mark.parametrize("values", [{"reranker": "magic"}, {"rerank_api": "soap"}, {"rerank_timeout": 0}])
def test_settings_out_of_bounds_are_refused(values: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(ValidationError, match=next(iter(values))):
        _settings(**values)


def test_the_key_does_not_show() -> None:
    """Neither in the settings' text nor in their JSON."""
    settings = _settings(reranker="http", rerank_api_key="s3cret")
    assert "s3cret" not in repr(settings) + settings.model_dump_json()

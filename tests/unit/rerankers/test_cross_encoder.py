"""The reranker on sentence-transformers itself."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import ConfigError, MissingExtra, RerankerError
from retrieval.rerankers.cross_encoder import CrossEncoderReranker
from tests.unit.rerankers.conftest import VIEW, chunks_of, make_bert, stored

pytest.importorskip("sentence_transformers")

TEXTS = ("the valve is closed", "never start the pump dry", "oil", "water pressure must be low " * 40)


@pytest.fixture(scope="module")
def reranker(tiny_cross_encoder: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(str(tiny_cross_encoder), batch_size=2)


def test_scores_are_the_models(reranker: CrossEncoderReranker, tiny_cross_encoder: Path) -> None:
    """Pair by pair, in the order given, whatever the batches; its activation, a sigmoid, included."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(tiny_cross_encoder), local_files_only=True)
    alone = [float(model.predict([("pump pressure", text)], show_progress_bar=False)[0]) for text in TEXTS]
    scores = reranker.rerank("pump pressure", chunks_of(*TEXTS), snapshot=VIEW)
    assert scores == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 4) for score in scores}) == len(TEXTS)
    assert all(0 < score < 1 for score in scores)


def test_the_title_is_judged_with_the_text(reranker: CrossEncoderReranker) -> None:
    """A chunk is what the index holds: its context, then its text."""
    with_title, whole = stored("must be low", context="oil pressure"), stored("oil pressure\nmust be low")
    scores = reranker.rerank("oil", [with_title, whole, stored("must be low")], snapshot=VIEW)
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert scores[0] != pytest.approx(scores[2], abs=1e-3)


def test_the_name_has_no_path(tiny_cross_encoder: Path, reranker: CrossEncoderReranker) -> None:
    """Reports and bundles go to others."""
    assert reranker.name == "cross-encoder:tiny-ranker"


def test_an_embedder_is_refused(official_embedder: Path) -> None:
    """Transformers would give it a random head without a word that matters."""
    with pytest.raises(ConfigError, match="holds no cross-encoder"):
        CrossEncoderReranker(str(official_embedder))


@pytest.fixture
def official_embedder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"], "model_type": "bert"}))
    return tmp_path


def test_a_classifier_of_several_labels_is_refused(tmp_path: Path) -> None:
    """One that tells entailment from contradiction has no single score."""
    with pytest.raises(ConfigError, match="gives 3 numbers for a pair"):
        CrossEncoderReranker(str(make_bert(tmp_path / "nli", labels=3)))


def test_a_missing_model_is_refused() -> None:
    """Nothing is downloaded; the error says so."""
    with pytest.raises(ConfigError, match="'nobody/nothing-at-all' is neither a folder"):
        CrossEncoderReranker("nobody/nothing-at-all")


def test_an_unknown_device_is_refused(tiny_cross_encoder: Path) -> None:
    """The error names the device."""
    with pytest.raises(ConfigError, match="device 'abacus'"):
        CrossEncoderReranker(str(tiny_cross_encoder), device="abacus")


def test_weights_without_numbers_give_no_ranking(tmp_path: Path) -> None:
    """A model whose weights are damaged says NaN, which would sort anywhere."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = make_bert(tmp_path / "damaged")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = torch.tensor([float("nan")])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RerankerError, match="score nan for chunk 1 of 2"):
        CrossEncoderReranker(str(folder)).rerank("pump", chunks_of("a", "b"), snapshot=VIEW)


def test_a_model_that_fails_is_a_reranker_error(tmp_path: Path) -> None:
    """A tokenizer with a wider window than the weights have positions for ends in an index error of torch."""
    folder = make_bert(tmp_path / "narrow")
    path = folder / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"max_position_embeddings": 64}))
    reranker = CrossEncoderReranker(str(folder))
    reranker.rerank("pump", chunks_of("a"), snapshot=VIEW)
    reranker._model.max_seq_length = 128  # as a wrong tokenizer_config.json would have it
    with pytest.raises(RerankerError, match="failed on 1 pairs"):
        reranker.rerank("pump", chunks_of("valve " * 200), snapshot=VIEW)


def test_a_missing_extra_is_named(tiny_cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error says what to install."""
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sentence_transformers":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"footnote\[sentence-transformers\]"):
        CrossEncoderReranker(str(tiny_cross_encoder))

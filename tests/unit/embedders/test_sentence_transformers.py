"""The embedder on sentence-transformers itself."""

import builtins
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.embedders.sentence_transformers import SentenceTransformersEmbedder
from retrieval.errors import ConfigError, MissingExtra
from tests.unit.embedders.conftest import cosines

pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def embedder(tiny_source: Path) -> SentenceTransformersEmbedder:
    return SentenceTransformersEmbedder(str(tiny_source), batch_size=2)


def test_info_comes_from_the_model(embedder: SentenceTransformersEmbedder) -> None:
    """Dimension, window, pooling, prompts and the hash of the weights are the model's."""
    info = embedder.info
    assert info.name == "tiny-bert"
    assert (info.dimension, info.window, info.pooling) == (128, 32, "mean")
    assert (info.query_prefix, info.document_prefix, len(info.sha256)) == ("query: ", "passage: ", 64)


def test_vectors_are_normalised_and_in_order(embedder: SentenceTransformersEmbedder) -> None:
    """Rows have unit length and stand in the order of the texts, long and short mixed."""
    texts = ["pump " * 40, "valve", "open the valve before start", ""]
    together = embedder.embed_documents(texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    alone = np.concatenate([embedder.embed_documents([text]) for text in texts])
    assert cosines(together, alone).min() > 0.9999


def test_queries_and_documents_have_their_own_prompts(embedder: SentenceTransformersEmbedder) -> None:
    """The same text as a query and as a document differs when the model has prompts."""
    assert not np.allclose(embedder.embed_queries(["pump"]), embedder.embed_documents(["pump"]), atol=1e-3)


def test_odd_input(embedder: SentenceTransformersEmbedder) -> None:
    """No texts give no rows; lone surrogates do not crash."""
    assert embedder.embed_queries([]).shape == (0, 128)
    assert embedder.embed_documents(["a \ud800"]).shape == (1, 128)


def test_offsets_are_not_truncated(embedder: SentenceTransformersEmbedder) -> None:
    """The tokenizer cuts long texts whole, also after the model has truncated one."""
    embedder.embed_documents(["pump " * 100])
    assert len(embedder.tokenizer.offsets("pump " * 100)) == 100


def test_a_missing_model_is_refused() -> None:
    """Nothing is downloaded; the error says so."""
    with pytest.raises(ConfigError, match="'nobody/nothing-at-all' is neither a folder"):
        SentenceTransformersEmbedder("nobody/nothing-at-all")


def test_an_unknown_device_is_refused(tiny_source: Path) -> None:
    """The error names the device."""
    with pytest.raises(ConfigError, match="device 'abacus'"):
        SentenceTransformersEmbedder(str(tiny_source), device="abacus").embed_queries(["pump"])


def test_a_missing_extra_is_named(tiny_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error says what to install."""
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sentence_transformers":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"footnote\[sentence-transformers\]"):
        SentenceTransformersEmbedder(str(tiny_source)).embed_queries(["pump"])


def test_it_is_the_same_in_another_process(embedder: SentenceTransformersEmbedder, tiny_source: Path) -> None:
    """Pickled, after it was used, it opens the model again; on whatever device there is."""
    vectors = embedder.embed_documents(["pump"])
    again = pickle.loads(pickle.dumps(embedder))
    assert again.info == embedder.info
    np.testing.assert_array_equal(again.embed_documents(["pump"]), vectors)
    anywhere = SentenceTransformersEmbedder(str(tiny_source), device="auto")
    assert cosines(anywhere.embed_documents(["pump"]), vectors).min() > 0.999


def test_the_first_dimensions_can_be_kept(tiny_source: Path, embedder: SentenceTransformersEmbedder) -> None:
    """As Matryoshka models have it: the first numbers, normalised again; the collection knows of it."""
    short = SentenceTransformersEmbedder(str(tiny_source), dimensions=16)
    whole = embedder.embed_documents(["pump", "open the valve"])[:, :16]
    np.testing.assert_allclose(
        short.embed_documents(["pump", "open the valve"]),
        whole / np.linalg.norm(whole, axis=1, keepdims=True),
        atol=1e-5,
    )
    assert short.info.dimension == 16
    assert short.info != embedder.info
    assert pickle.loads(pickle.dumps(short)).info == short.info


def test_more_dimensions_than_there_are_cannot_be_kept(tiny_source: Path) -> None:
    """The error says how many there are."""
    with pytest.raises(ConfigError, match=r"retrieval\.dimensions = 129: 'tiny-bert' has 128"):
        _ = SentenceTransformersEmbedder(str(tiny_source), dimensions=129).info


def test_prefixes_of_the_settings_come_before_those_of_the_model(
    tiny_source: Path, embedder: SentenceTransformersEmbedder
) -> None:
    """Unset they are the model's; an empty one is none; the collection knows which."""
    bare = SentenceTransformersEmbedder(str(tiny_source), query_prefix="", document_prefix="oil: ")
    assert (bare.info.query_prefix, bare.info.document_prefix) == ("", "oil: ")
    assert bare.info != embedder.info
    np.testing.assert_allclose(bare.embed_queries(["query: pump"]), embedder.embed_queries(["pump"]), atol=1e-5)
    np.testing.assert_allclose(bare.embed_documents(["pump"]), bare.embed_queries(["oil: pump"]), atol=1e-5)

"""What every embedder promises, whichever it is."""

import itertools
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.build import build_embedder
from retrieval.ports import Embedder
from retrieval.settings import RetrievalSettings
from tests.unit.embedders.conftest import SHIPPED_NAME, cosines
from tests.unit.embedders.services import bedrock_embeddings, openai_embeddings, serving

EMBEDDERS = ["onnx", "sentence-transformers", "matryoshka", "http", "titan", "cohere"]


@pytest.fixture(scope="module", params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    """One of each, built from settings; services are on this machine."""
    if request.param == "onnx":
        yield build_embedder(RetrievalSettings(model=SHIPPED_NAME))
    elif request.param in ("sentence-transformers", "matryoshka"):
        folder: Path = request.getfixturevalue("tiny_source")
        dimensions = 16 if request.param == "matryoshka" else 0
        yield build_embedder(
            RetrievalSettings(embedder="sentence-transformers", model=str(folder), dimensions=dimensions)
        )
    elif request.param == "http":
        with serving(then=openai_embeddings) as served:
            yield build_embedder(
                RetrievalSettings(embedder="http", model="m", embedder_url=f"{served.url}/v1", embedder_batch=3)
            )
    else:
        pytest.importorskip("boto3")
        model = {"titan": "amazon.titan-embed-text-v2:0", "cohere": "eu.cohere.embed-v4:0"}[request.param]
        with pytest.MonkeyPatch.context() as patch, serving(then=bedrock_embeddings) as served:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "dummy")
            yield build_embedder(
                RetrievalSettings(
                    embedder="bedrock", model=model, embedder_url=served.url, embedder_region="eu-central-1"
                )
            )


TEXTS = ["pump", "valve " * 40, "the pump must never run dry", "oil", "open the valve", "low water pressure", "start"]


def test_rows_have_the_dimension_and_unit_length(embedder: Embedder) -> None:
    """Of queries and of documents, in single precision."""
    for made in (embedder.embed_queries(TEXTS), embedder.embed_documents(TEXTS)):
        assert made.shape == (len(TEXTS), embedder.info.dimension)
        assert made.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    """Of the right width, so that they can be put below others."""
    assert embedder.embed_queries([]).shape == (0, embedder.info.dimension)
    assert embedder.embed_documents(()).shape == (0, embedder.info.dimension)


def test_rows_stand_in_the_order_of_the_texts(embedder: Embedder) -> None:
    """Alone or among others, long or short, a text has its vector, but for what a batch costs in precision."""
    together = embedder.embed_documents(TEXTS)
    alone = np.concatenate([embedder.embed_documents([text]) for text in TEXTS])
    assert cosines(together, alone).min() > 0.9999
    backwards = embedder.embed_documents(TEXTS[::-1])[::-1]
    assert cosines(together, backwards).min() > 0.9999


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "\x00", "a \ud800 b", "\udfff", "e\u0301\u200d", "😀👍🏽", "水泵的压力", "\u202epump", "\ufeff"],
)
def test_odd_texts_have_vectors_too(embedder: Embedder, text: str) -> None:
    """Empty ones and lone surrogates included: one odd chunk must not end an ingest."""
    for made in (embedder.embed_queries([text, "pump"]), embedder.embed_documents([text, "pump"])):
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("text", ["pump " * 20_000, "x" * 100_000, "水" * 30_000, "\n" * 5_000 + "pump"])
def test_a_text_beyond_the_window_is_cut(embedder: Embedder, text: str) -> None:
    """Not refused."""
    assert embedder.embed_queries([text]).shape == (1, embedder.info.dimension)


def test_offsets_are_spans_of_the_text(embedder: Embedder) -> None:
    """Ascending and within the text; nothing is truncated, and a word is not lost."""
    text = "The pump — Größe 12,5 — opens at 40 bar.\n\n水泵 \ud800 😀 " * 50
    spans = embedder.tokenizer.offsets(text)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert all(before[0] <= after[0] for before, after in itertools.pairwise(spans))
    assert sum("bar" in text[start : end + 2] for start, end in spans) >= 50
    assert embedder.tokenizer.offsets("") == []


def test_it_is_the_same_in_another_process(embedder: Embedder) -> None:
    """Whole embedders go to other machines, tokenizers to the processes that cut."""
    again = pickle.loads(pickle.dumps(embedder))
    assert again.info == embedder.info
    assert (again.info.adapter, again.info.model) == (embedder.info.adapter, embedder.info.model)
    assert cosines(again.embed_documents(TEXTS), embedder.embed_documents(TEXTS)).min() > 0.9999
    tokenizer = pickle.loads(pickle.dumps(embedder.tokenizer))
    assert tokenizer.offsets(TEXTS[2]) == embedder.tokenizer.offsets(TEXTS[2])


def test_threads_may_share_it(embedder: Embedder) -> None:
    """As the requests of a server do."""
    expected = embedder.embed_queries(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for made in pool.map(lambda _: embedder.embed_queries(TEXTS), range(8)):
            assert cosines(made, expected).min() > 0.9999

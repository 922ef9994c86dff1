"""The Bedrock embedder: boto3 itself, talking to a server on this machine."""

import pickle
import sys
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import pytest

from retrieval.embedders.bedrock import PARALLEL, BedrockEmbedder
from retrieval.embedders.service import ServiceOptions
from retrieval.errors import ConfigError, EmbedderError, EmbedderUnavailable, MissingExtra
from tests.fakes import FakeEmbedder
from tests.unit.embedders.services import Call, Reply, bedrock_embeddings, serving

pytest.importorskip("boto3")

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-english-v3"


@pytest.fixture(autouse=True)
def _dummy_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own AWS configuration is read."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def make(url: str, model: str = TITAN, **options: Any) -> BedrockEmbedder:
    given = ServiceOptions(model=model, **{"timeout": 5.0, "retries": 0, **options})
    return BedrockEmbedder(given, region="eu-central-1", endpoint_url=url)


def refused(status: int, code: str, message: str) -> Reply:
    """An error as AWS frames it for REST in JSON."""
    return Reply({"message": message}, status, {"x-amzn-errortype": code})


def test_titan_v2_takes_one_text_at_a_time() -> None:
    """With the dimensions wanted; rows stand in the order of the texts."""
    texts = [f"pump {'valve ' * (i % 5)} {i}" for i in range(20)]
    with serving(then=bedrock_embeddings) as served:
        made = make(served.url, dimensions=256).embed_documents(texts)
    assert len(served.calls) == 20
    assert served.calls[0].path == "/model/amazon.titan-embed-text-v2%3A0/invoke"
    assert served.calls[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=dummy/")
    assert set(served.calls[0].body) == {"inputText", "dimensions", "normalize"}
    assert served.calls[0].body["dimensions"] == 256
    np.testing.assert_allclose(made, FakeEmbedder(256).embed_documents(texts), atol=1e-6)


def test_titan_v1_has_no_choice() -> None:
    """Its request is the text."""
    with serving(then=bedrock_embeddings) as served:
        assert make(served.url, "amazon.titan-embed-text-v1").embed_queries(["pump"]).shape == (1, 1536)
    assert served.calls[0].body == {"inputText": "pump"}


@pytest.mark.parametrize("model", [COHERE, "cohere.embed-multilingual-v3"])
def test_cohere_v3_tells_queries_from_documents(model: str) -> None:
    """By `input_type`; up to 96 texts in a request, none over 2,048 characters."""
    texts = [f"{i} " + "Pump " * 600 for i in range(100)]
    with serving(then=bedrock_embeddings) as served:
        embedder = make(served.url, model, batch=500)
        embedder.embed_queries(["pump"])
        embedder.embed_documents(texts)
    query, *documents = [call.body for call in served.calls]
    assert query == {"texts": ["pump"], "input_type": "search_query", "truncate": "END"}
    assert sorted(len(body["texts"]) for body in documents) == [4, 96]
    assert {body["input_type"] for body in documents} == {"search_document"}
    assert max(len(text) for body in documents for text in body["texts"]) <= 2048


def test_cohere_v4_is_asked_for_its_dimension() -> None:
    """And for floats, which it sends by type."""
    with serving(then=bedrock_embeddings) as served:
        made = make(served.url, "cohere.embed-v4:0", dimensions=512).embed_queries(["pump"])
    np.testing.assert_allclose(made, FakeEmbedder(512).embed_documents(["pump"]), atol=1e-6)
    assert served.calls[0].body == {
        "texts": ["pump"],
        "input_type": "search_query",
        "truncate": "RIGHT",
        "embedding_types": ["float"],
        "output_dimension": 512,
    }


@pytest.mark.parametrize(
    ("model", "name", "dimension", "window"),
    [
        (TITAN, f"bedrock:{TITAN}", 1024, 512),
        ("amazon.titan-embed-g1-text-02", "bedrock:amazon.titan-embed-g1-text-02", 1536, 512),
        ("us.cohere.embed-v4:0", "bedrock:cohere.embed-v4:0", 1536, 512),
        ("global.cohere.embed-v4:0", "bedrock:cohere.embed-v4:0", 1536, 512),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{COHERE}", f"bedrock:{COHERE}", 1024, 512),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.cohere.embed-v4:0",
            "bedrock:cohere.embed-v4:0",
            1536,
            512,
        ),
    ],
)
def test_the_model_id_tells_the_family(model: str, name: str, dimension: int, window: int) -> None:
    """Whatever the region's profile or account: the name is the model's, and nothing is asked for it."""
    info = make("http://127.0.0.1:9", model).info
    assert (info.name, info.dimension, info.window, info.sha256) == (name, dimension, window, "")
    assert (info.adapter, info.model, info.pooling) == ("bedrock", model, "service")


def test_a_window_is_no_wider_than_the_model_reads() -> None:
    """Cohere's third version reads 512 tokens, whatever the settings say."""
    assert make("http://127.0.0.1:9", COHERE, window=8192).info.window == 512
    assert make("http://127.0.0.1:9", TITAN, window=8192).info.window == 8192


@pytest.mark.parametrize(
    "model",
    [
        "",
        "all-MiniLM-L6-v2",
        "amazon.titan-embed-image-v1",
        "xamazon.titan-embed-text-v2:0",
        f"{TITAN}\n",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
    ],
)
def test_a_model_of_no_known_family_is_refused(model: str) -> None:
    """The error names those that are known."""
    with pytest.raises(ConfigError, match=r"names no embedding model.*amazon\.titan-embed-text-v2"):
        make("http://127.0.0.1:9", model)


@pytest.mark.parametrize(
    ("model", "dimensions", "can"),
    [(TITAN, 300, "256, 512, 1024"), (COHERE, 512, "1024"), ("cohere.embed-v4", 1, "256")],
)
def test_dimensions_that_it_cannot_do_are_refused(model: str, dimensions: int, can: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match=f"retrieval.dimensions = {dimensions}.*{can}"):
        make("http://127.0.0.1:9", model, dimensions=dimensions)


def test_a_refusal_carries_the_words_of_the_service() -> None:
    """And says what to look at."""
    reply = refused(403, "AccessDeniedException", "You don't have access to the model")
    with (
        serving(then=lambda _: reply) as served,
        pytest.raises(EmbedderError, match=r"AccessDeniedException: You don't.*retrieval\.model") as caught,
    ):
        make(served.url, retries=3).embed_queries(["pump"])
    assert not isinstance(caught.value, EmbedderUnavailable)
    assert len(served.calls) == 1


def test_throttling_is_tried_again() -> None:
    """As often as the setting says; AWS's own client waits in between."""
    slow_down = refused(429, "ThrottlingException", "Too many tokens")
    with serving(slow_down, then=bedrock_embeddings) as served:
        assert make(served.url, retries=1).embed_queries(["pump"]).shape == (1, 1024)
    assert len(served.calls) == 2
    with (
        serving(then=lambda _: slow_down) as served,
        pytest.raises(EmbedderUnavailable, match="Too many tokens; tried 2 times"),
    ):
        make(served.url, retries=1).embed_queries(["pump"])
    assert len(served.calls) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"no JSON"),
        Reply([]),
        Reply({}),
        Reply({"embedding": None}),
        Reply({"embedding": []}),
        Reply({"embedding": [[1.0]]}),
        Reply({"embedding": ["1.0"]}),
        Reply({"embedding": [0.0] * 1024}),
        Reply({"embedding": [float("nan")] * 1024}),
        Reply({"embedding": [1.0] * 512}),
    ],
)
def test_nonsense_from_titan_is_no_embedding(reply: Reply) -> None:
    """Another dimension than the model has included."""
    with serving(then=lambda _: reply) as served, pytest.raises(EmbedderError, match=r"bedrock:amazon.*sent"):
        make(served.url).embed_queries(["pump"])


@pytest.mark.parametrize(
    "embeddings", [None, 3, {}, {"int8": [[1] * 1024]}, [[1.0] * 1024], [[1.0] * 1024] * 3, {"float": [[1.0]] * 2}]
)
def test_nonsense_from_cohere_is_no_embedding(embeddings: object) -> None:
    """As many rows as texts, in floats."""
    with (
        serving(then=lambda _: Reply({"embeddings": embeddings})) as served,
        pytest.raises(EmbedderError, match=r"bedrock:cohere.*sent"),
    ):
        make(served.url, COHERE).embed_documents(["pump", "valve"])


def test_a_service_that_is_not_there_is_unavailable() -> None:
    """The endpoint is what cannot be reached."""
    with serving(then=bedrock_embeddings) as served:
        url = served.url
    with pytest.raises(EmbedderUnavailable, match="cannot be reached"):
        make(url).embed_queries(["pump"])


def test_an_answer_that_breaks_off_is_unavailable() -> None:
    """Half a body is no answer."""
    cut = Reply(b'{"embedding": [1.0,', 200, {"content-length": "1000", "connection": "close"})
    with serving(then=lambda _: cut) as served, pytest.raises(EmbedderUnavailable, match="broke off"):
        make(served.url, timeout=1.0).embed_queries(["pump"])


def test_without_credentials_nothing_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no outage."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(EmbedderError, match="credentials; set AWS_PROFILE") as caught:
        make("http://127.0.0.1:9").embed_queries(["pump"])
    assert not isinstance(caught.value, EmbedderUnavailable)


@pytest.mark.parametrize(("region", "url"), [(None, None), ("eu-central-1", "no address")])
def test_a_wrong_region_or_address_is_a_wrong_setting(region: str | None, url: str | None) -> None:
    """The error names the settings."""
    with pytest.raises(ConfigError, match=r"retrieval\.embedder_region"):
        BedrockEmbedder(ServiceOptions(model=TITAN), region=region, endpoint_url=url)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3 the error says what to install."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"footnote\[bedrock\]"):
        make("http://127.0.0.1:9")


def test_it_is_the_same_in_another_process() -> None:
    """Pickled after use, it asks with a client of its own; the window is not cut twice."""
    with serving(then=bedrock_embeddings) as served:
        embedder = make(served.url, COHERE, window=8192)
        made = embedder.embed_documents(["pump"])
        again = pickle.loads(pickle.dumps(embedder))
        assert again.info == embedder.info
        np.testing.assert_array_equal(again.embed_documents(["pump"]), made)


def test_requests_go_side_by_side() -> None:
    """For the way there and back is what takes time; never more than stated."""
    together = Barrier(PARALLEL, timeout=5)

    def wait_for_all(call: Call) -> Reply:
        try:
            together.wait()
        except BrokenBarrierError:
            return refused(500, "InternalServerException", "alone")
        return bedrock_embeddings(call)

    with serving(then=wait_for_all) as served:
        make(served.url).embed_documents([f"pump {i}" for i in range(PARALLEL * 2)])
    assert served.most == PARALLEL

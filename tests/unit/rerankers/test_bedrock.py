"""The Bedrock reranker: boto3 itself, talking to a local server that answers as the Agent Runtime does."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from retrieval.errors import ConfigError, MissingExtra, RerankerError, RerankerUnavailable
from retrieval.rerankers.bedrock import BedrockReranker
from tests.unit.rerankers.conftest import VIEW, Reply, answering, chunks_of, in_turn, word_scores

pytest.importorskip("boto3")

MODEL = "cohere.rerank-v3-5:0"
TEXTS = ("the valve is closed", "the pump has low pressure", "oil")


@pytest.fixture(autouse=True)
def _dummy_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own AWS configuration is read."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def texts_of(body: Any) -> list[str]:
    return [source["inlineDocumentSource"]["textDocument"]["text"] for source in body["sources"]]


def agent_runtime(body: Any) -> Reply:
    """As Amazon Bedrock answers: best first."""
    scores = word_scores(body["queries"][0]["textQuery"]["text"], texts_of(body))
    results = [{"index": index, "relevanceScore": score} for index, score in enumerate(scores)]
    return Reply({"results": sorted(results, key=lambda result: -result["relevanceScore"])})


def _reranker(url: str, model: str = MODEL, timeout: float = 5.0) -> BedrockReranker:
    return BedrockReranker(model=model, region="eu-central-1", endpoint_url=url, timeout=timeout)


def _rerank(answer: Callable[[Any], Reply], *texts: str) -> list[float]:
    with answering(answer) as server:
        return _reranker(server.url).rerank("pump pressure", chunks_of(*(texts or TEXTS)), snapshot=VIEW)


def test_asks_as_rerank_wants_it() -> None:
    """All texts inline, all results wanted back, the model as an ARN of the region, signed."""
    with answering(agent_runtime) as server:
        assert _reranker(server.url).rerank("pump pressure", chunks_of(*TEXTS), snapshot=VIEW) == [0.0, 2.0, 0.0]
    ((path, headers, body),) = server.requests
    assert path == "/rerank"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=dummy/")
    assert texts_of(body) == list(TEXTS)
    assert {source["type"] for source in body["sources"]} == {"INLINE"}
    assert body["queries"] == [{"type": "TEXT", "textQuery": {"text": "pump pressure"}}]
    assert body["rerankingConfiguration"] == {
        "type": "BEDROCK_RERANKING_MODEL",
        "bedrockRerankingConfiguration": {
            "numberOfResults": 3,
            "modelConfiguration": {"modelArn": f"arn:aws:bedrock:eu-central-1::foundation-model/{MODEL}"},
        },
    }


def test_an_arn_is_taken_as_it_is() -> None:
    """And other partitions have their own."""
    arn = "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"
    with answering(agent_runtime) as server:
        _reranker(server.url, model=arn).rerank("q", chunks_of("a"), snapshot=VIEW)
        china = BedrockReranker(model=MODEL, region="cn-north-1", endpoint_url=server.url)
        china.rerank("q", chunks_of("a"), snapshot=VIEW)
    arns = [
        body["rerankingConfiguration"]["bedrockRerankingConfiguration"]["modelConfiguration"]["modelArn"]
        for _, _, body in server.requests
    ]
    assert arns == [arn, f"arn:aws-cn:bedrock:cn-north-1::foundation-model/{MODEL}"]


def test_pages_are_followed() -> None:
    """The token of a page asks for the next; together they have every text once."""

    def paged(body: Any) -> Reply:
        results = agent_runtime(body).body["results"]
        page = int(body.get("nextToken", "0"))
        following = {"nextToken": str(page + 1)} if page + 1 < len(results) else {}
        return Reply({"results": results[page : page + 1], **following})

    assert _rerank(paged) == [0.0, 2.0, 0.0]


def test_endless_pages_end() -> None:
    """A token that leads to an empty page again and again is not followed for ever."""
    with pytest.raises(RerankerError, match=r"more pages than there are texts \(3\)"):
        _rerank(lambda _: Reply({"results": [], "nextToken": "more"}))


def test_more_than_a_thousand_texts_are_several_requests() -> None:
    """As many as the API takes at once; the scores are in order."""
    texts = [f"pump {number}" if number % 2 else "oil" for number in range(1500)]
    with answering(agent_runtime) as server:
        scores = _reranker(server.url).rerank("pump", chunks_of(*texts), snapshot=VIEW)
    assert scores == [float(number % 2) for number in range(1500)]
    assert [len(texts_of(body)) for _, _, body in server.requests] == [1000, 500]


def test_texts_keep_to_the_limits() -> None:
    """32,000 characters, and not none."""
    with answering(agent_runtime) as server:
        _reranker(server.url).rerank("q " * 40_000, chunks_of("x" * 40_000, " \n"), snapshot=VIEW)
    body = server.requests[0][2]
    assert [len(text) for text in texts_of(body)] == [32_000, 1]
    assert len(body["queries"][0]["textQuery"]["text"]) == 32_000


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([(0, 0.5), (1, 0.4)], "index 2 is missing"),
        ([(0, 0.5), (1, 0.4), (1, 0.3)], "answered twice with index 1"),
        ([(0, 0.5), (1, 0.4), (7, 0.3)], "answered with index 7"),
        ([(0, 0.5), (1, float("nan")), (2, 0.3)], "score nan for chunk 2 of 3"),
        ([(0, 0.5), (1, None), (2, 0.3)], "which is no number"),
    ],
)
def test_every_text_has_one_score(results: list[tuple[Any, Any]], message: str) -> None:
    """Or there is no ranking."""
    body = {"results": [{"index": index, "relevanceScore": score} for index, score in results]}
    with pytest.raises(RerankerError, match=message):
        _rerank(lambda _: Reply(body))


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "ThrottlingException"), (500, "InternalServerException"), (502, "BadGatewayException"), (503, "Unheard")],
)
def test_what_may_pass_is_unavailable(status: int, code: str) -> None:
    """Try again later."""
    reply = Reply({"message": "Slow down"}, status, {"x-amzn-ErrorType": code})
    with pytest.raises(RerankerUnavailable, match=f"{code}: Slow down; try again later"):
        _rerank(lambda _: reply)


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDeniedException"), (400, "ValidationException"), (404, "ResourceNotFoundException")],
)
def test_a_refusal_names_what_to_check(status: int, code: str) -> None:
    """Model, region and permissions, with the words of the service."""
    reply = Reply({"message": "No access to this model"}, status, {"x-amzn-ErrorType": code})
    with pytest.raises(
        RerankerError, match=rf"{code}: No access.*rerank_model.*rerank_region.*bedrock:Rerank"
    ) as caught:
        _rerank(lambda _: reply)
    assert not isinstance(caught.value, RerankerUnavailable)


def test_throttling_is_tried_again_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's standard retries."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    throttled = Reply({"message": "Slow down"}, 429, {"x-amzn-ErrorType": "ThrottlingException"})
    assert _rerank(in_turn(throttled, Reply({"results": [{"index": 0, "relevanceScore": 0.5}]})), "oil") == [0.5]


def test_a_web_page_is_no_answer() -> None:
    """A proxy's login page comes with status 200."""
    with pytest.raises(RerankerError):
        _rerank(lambda _: Reply(b"<html>Sign in</html>"))


def test_no_server_is_unavailable() -> None:
    """With what boto3 says of it."""
    with pytest.raises(RerankerUnavailable, match="cannot be reached"):
        _reranker("http://127.0.0.1:9").rerank("q", chunks_of("a"), snapshot=VIEW)


def test_no_region_is_named() -> None:
    """Which setting is missing."""
    with pytest.raises(ConfigError, match=r"retrieval\.rerank_region"):
        BedrockReranker(model=MODEL)


def test_an_endpoint_that_is_none_is_named() -> None:
    """A VPC endpoint's address is easily mistyped."""
    with pytest.raises(ConfigError, match=r"retrieval\.rerank_url"):
        BedrockReranker(model=MODEL, region="eu-central-1", endpoint_url="vpce-1.example")


def test_no_credentials_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not pass by waiting."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(RerankerError, match="credentials; set AWS_PROFILE") as caught:
        _rerank(agent_runtime)
    assert not isinstance(caught.value, RerankerUnavailable)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which command installs it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"footnote\[bedrock\]"):
        BedrockReranker(model=MODEL)

"""The reranker on a server with /rerank: both shapes, over real HTTP, and all that a server can do wrong."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from retrieval.errors import ConfigError, RerankerError, RerankerUnavailable
from retrieval.rerankers.http import HttpReranker
from tests.unit.generation.serving import serving
from tests.unit.rerankers.conftest import VIEW, Reply, answering, chunks_of, in_turn, stored, word_scores

MODEL = "BAAI/bge-reranker-v2-m3"
TEXTS = ("the valve is closed", "the pump has low pressure", "oil")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.rerankers.http.FIRST_DELAY", 0.01)


def tei(body: Any) -> Reply:
    """As Text Embeddings Inference answers: best first, not in the order of the texts."""
    ranks = [{"index": index, "score": score} for index, score in enumerate(word_scores(body["query"], body["texts"]))]
    return Reply(sorted(ranks, key=lambda rank: -rank["score"]))


def cohere(body: Any) -> Reply:
    """As Cohere and vLLM answer; at most `top_n` results."""
    scores = enumerate(word_scores(body["query"], body["documents"]))
    results = [{"index": index, "relevance_score": score, "document": {"text": "..."}} for index, score in scores]
    best = sorted(results, key=lambda result: -float(str(result["relevance_score"])))[: body["top_n"]]
    return Reply({"id": "x", "model": body["model"], "results": best, "meta": {"billed_units": {"search_units": 1}}})


def _rerank(reranker: HttpReranker, *texts: str, query: str = "pump pressure") -> list[float]:
    return reranker.rerank(query, chunks_of(*(texts or TEXTS)), snapshot=VIEW)


def test_tei() -> None:
    """Raw scores, truncation by the server, and the scores in the order of the chunks."""
    with answering(tei) as server:
        assert _rerank(HttpReranker(url=server.url)) == [0.0, 2.0, 0.0]
    ((path, headers, body),) = server.requests
    assert path == "/rerank"
    assert "authorization" not in headers
    assert body == {"query": "pump pressure", "texts": list(TEXTS), "raw_scores": True, "truncate": True}


def test_cohere() -> None:
    """The model, all documents wanted back, and the key as a bearer token."""
    with answering(cohere) as server:
        reranker = HttpReranker(url=f"{server.url}/v2", model=MODEL, api_key="s3cret")
        assert _rerank(reranker) == [0.0, 2.0, 0.0]
    ((path, headers, body),) = server.requests
    assert path == "/v2/rerank"
    assert headers["authorization"] == "Bearer s3cret"
    assert body == {"model": MODEL, "query": "pump pressure", "documents": list(TEXTS), "top_n": 3}


def test_the_api_follows_the_model_unless_it_is_said() -> None:
    """A server that needs no model speaks as TEI does; the name is for explanations all the same."""
    with answering(tei) as server:
        reranker = HttpReranker(url=server.url, model=MODEL, api="tei")
        assert (_rerank(reranker)[1], reranker.name) == (2.0, f"http:{MODEL}")
        assert HttpReranker(url=server.url).name == "http:tei"
    with pytest.raises(ConfigError, match=r"retrieval\.rerank_model is empty"):
        HttpReranker(url=server.url, api="cohere")


def test_the_path_may_be_given_whole() -> None:
    """People copy the address from a curl command."""
    with answering(tei) as server:
        _rerank(HttpReranker(url=f"{server.url}/rerank"))
        _rerank(HttpReranker(url=f"{server.url}/rerank/"))
    assert [path for path, _, _ in server.requests] == ["/rerank", "/rerank"]


def test_the_title_goes_along() -> None:
    """A server sees what the index holds of a chunk."""
    with answering(tei) as server:
        HttpReranker(url=server.url).rerank("q", [stored("3 kg", context="Weight of the pump")], snapshot=VIEW)
    assert server.requests[0][2]["texts"] == ["Weight of the pump\n3 kg"]


def test_batches_fit_the_servers_limit() -> None:
    """TEI takes 32 texts; 100 chunks are four requests, and their scores are in order."""
    texts = [f"pump {number}" if number % 3 else "pump pressure" for number in range(100)]
    with answering(tei) as server:
        scores = _rerank(HttpReranker(url=server.url), *texts)
    assert scores == [1.0 if number % 3 else 2.0 for number in range(100)]
    assert sorted(len(body["texts"]) for _, _, body in server.requests) == [4, 32, 32, 32]


@pytest.mark.parametrize("status", [413, 422])
def test_a_lower_limit_is_learnt(status: int) -> None:
    """TEI says its limit; from then on nothing larger is sent."""

    def limited(body: Any) -> Reply:
        size = len(body["texts"])
        if size <= 8:
            return tei(body)
        error = f"batch size {size} > maximum allowed batch size 8"
        return Reply({"error": error, "error_type": "Validation"}, status)

    texts = [f"pump {number}" for number in range(20)]
    with answering(limited) as server:
        reranker = HttpReranker(url=server.url)
        assert _rerank(reranker, *texts) == [1.0] * 20
        before = len(server.requests)
        assert _rerank(reranker, *texts) == [1.0] * 20
    assert sorted(len(body["texts"]) for _, _, body in server.requests[before:]) == [4, 8, 8]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 512 tokens. However, you requested 900 tokens"),  # vLLM
        (500, "input is too large to process. increase the physical batch size"),  # llama.cpp
        (413, "Payload reached size limit."),  # a proxy
    ],
)
def test_a_text_that_is_too_long_is_cut(status: int, message: str) -> None:
    """Some servers refuse it instead of cutting; the other texts keep their whole length."""

    def strict(body: Any) -> Reply:
        if max(map(len, body["documents"])) > 1000:
            return Reply({"error": {"message": message, "type": "invalid", "code": status}}, status)
        return cohere(body)

    long, short = "pump pressure " * 200, "pump" + " oil" * 200
    with answering(strict) as server:
        assert _rerank(HttpReranker(url=server.url, model=MODEL), "oil", long, short) == [0.0, 2.0, 1.0]
    sent = {text for _, _, body in server.requests for text in body["documents"]}
    assert {short, long[:700]} <= sent


def test_a_query_that_is_too_long_is_an_error() -> None:
    """Cutting texts does not help then; the number of requests is bounded."""
    refusal = Reply({"message": "maximum context length is 512 tokens"}, 400)
    with answering(lambda _: refusal) as server, pytest.raises(RerankerError, match=r"query has 5,000 characters"):
        _rerank(HttpReranker(url=server.url, model=MODEL), "pump " * 100, query="pump " * 1000)
    assert len(server.requests) <= 4


def test_a_busy_server_is_asked_again() -> None:
    """429 and 503 pass; the scores are those of the answer that came in the end."""
    busy = Reply({"error": "Model is overloaded", "error_type": "Overloaded"}, 429)
    replies = in_turn(busy, Reply(b"upstream", 503), Reply([{"index": 0, "score": -3.5}]))
    with answering(replies) as server:
        assert _rerank(HttpReranker(url=server.url), "oil") == [-3.5]
    assert len(server.requests) == 3


def test_retry_after_is_kept() -> None:
    """The server knows when."""
    replies = in_turn(Reply({}, 429, {"retry-after": "0.4"}), Reply([{"index": 0, "score": 1}]))
    with answering(replies) as server:
        begin = time.monotonic()
        assert _rerank(HttpReranker(url=server.url), "oil") == [1.0]
    assert time.monotonic() - begin >= 0.4


def test_nobody_waits_longer_than_the_timeout() -> None:
    """A server that asks for an hour is not waited for, and the error says what it asked."""
    with answering(lambda _: Reply({}, 503, {"retry-after": "3600"})) as server:
        begin = time.monotonic()
        with pytest.raises(RerankerUnavailable, match=r"answered 503.*tried once, and it asks to wait for 3,600 s"):
            _rerank(HttpReranker(url=server.url, timeout=5))
    assert time.monotonic() - begin < 2


def test_a_silent_server_costs_the_timeout_once() -> None:
    """Second tries are within it: somebody waits for the result."""

    def silent(_: Any) -> Reply:
        time.sleep(0.7)
        return Reply([])

    with answering(silent) as server:
        begin = time.monotonic()
        with pytest.raises(RerankerUnavailable, match=r"did not answer within 0\.3 s"):
            _rerank(HttpReranker(url=server.url, timeout=0.3))
        assert time.monotonic() - begin < 0.6


def test_a_server_that_drips_costs_no_more() -> None:
    """A byte now and then keeps a connection alive, not a query."""

    def drip() -> Iterator[bytes]:
        for _ in range(30):
            yield b" "
            time.sleep(0.1)

    with serving(drip, media_type="application/json") as served:
        begin = time.monotonic()
        with pytest.raises(RerankerUnavailable, match=r"did not answer within 0\.3 s"):
            _rerank(HttpReranker(url=served.url, timeout=0.3))
        assert time.monotonic() - begin < 1.0


def test_an_endless_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has so many bytes is no list of scores."""
    monkeypatch.setattr("retrieval.service.MAX_ANSWER_BYTES", 1000)
    with answering(lambda _: Reply(b" " * 2000)) as server, pytest.raises(RerankerError, match="more than 1,000 bytes"):
        _rerank(HttpReranker(url=server.url))
    assert len(server.requests) == 1


def test_no_server_is_unavailable() -> None:
    """With the address, and the setting to look at."""
    with pytest.raises(RerankerUnavailable, match=r"127\.0\.0\.1:9 cannot be reached.*retrieval\.rerank_url"):
        _rerank(HttpReranker(url="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("status", "setting"),
    [(401, "rerank_api_key"), (403, "rerank_api_key"), (404, "rerank_url"), (400, "rerank_model"), (302, "rerank_url")],
)
def test_a_refusal_names_the_setting(status: int, setting: str) -> None:
    """It is not tried again, and the server's words are shown."""
    message = rf"answered {status}: Not here; check.*retrieval\.{setting}"
    reply = Reply({"detail": "Not here"}, status)
    with answering(lambda _: reply) as server, pytest.raises(RerankerError, match=message) as caught:
        _rerank(HttpReranker(url=server.url, model=MODEL))
    assert not isinstance(caught.value, RerankerUnavailable)
    assert len(server.requests) == 1


def test_the_key_is_in_no_error() -> None:
    """Not even when the server repeats it."""
    reply = Reply({"error": {"message": "Invalid key s3cret-key"}}, 401)
    with answering(lambda _: reply) as server, pytest.raises(RerankerError) as caught:
        _rerank(HttpReranker(url=server.url, model=MODEL, api_key="s3cret-key"))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError) as refused:
        HttpReranker(url=server.url, api_key="s3cret\nkey")
    assert "s3cret" not in str(refused.value)


def _ranks(*pairs: tuple[Any, Any]) -> bytes:
    return json.dumps([{"index": index, "score": score} for index, score in pairs]).encode()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_ranks((0, 1.0), (1, 2.0)), "index 2 is missing"),
        (_ranks((0, 1.0), (1, 2.0), (1, 3.0)), "answered twice with index 1"),
        (_ranks((0, 1.0), (1, 2.0), (3, 3.0)), "answered with index 3"),
        (_ranks((0, 1.0), (1, 2.0), (-1, 3.0)), "answered with index -1"),
        (_ranks((0, 1.0), (1, 2.0), ("2", 3.0)), "answered with index '2'"),
        (_ranks((0, 1.0), (1, 2.0), (True, 3.0)), "answered with index True"),
        (_ranks((0, 1.0), (1, float("nan")), (2, 3.0)), "score nan for chunk 2 of 3"),
        (_ranks((0, 1.0), (1, float("inf")), (2, 3.0)), "score inf for chunk 2 of 3"),
        (_ranks((0, 1.0), (1, 10**400), (2, 3.0)), "score inf for chunk 2 of 3"),
        (_ranks((0, 1.0), (1, None), (2, 3.0)), "score None, which is no number"),
        (_ranks((0, 1.0), (1, "0.5"), (2, 3.0)), "score '0.5', which is no number"),
        (b"[]", "gave 0 scores for 3 texts"),
        (b"{}", "gave 0 scores for 3 texts"),
        (b"null", "sent None, which is no answer of the API 'tei'"),
        (b'[["index", 0]]', "which is no answer of the API 'tei'"),
        (b'{"results": []}', "which is no answer of the API 'tei'"),
        (b'[{"index": 0, "relevance_score": 1}]', "which is no answer of the API 'tei'"),
        (b'[{"index": 0, "score"', "which is no JSON"),
        (b"<html><body>Welcome to nginx!</body></html>", "Welcome to nginx.*which is no JSON"),
        (b"[" * 100_000, "which is no JSON"),
        (b"\xff\xfe", "which is no JSON"),
        (b"", "which is no JSON"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes, message: str) -> None:
    """Every text has one finite score, or there is no ranking."""
    with answering(lambda _: Reply(answer)) as server, pytest.raises(RerankerError, match=message):
        _rerank(HttpReranker(url=server.url))


@pytest.mark.parametrize("answer", [b"[]", b'{"results": null}', b'{"results": [0]}', b'{"data": []}', b'"no"', b"7"])
def test_an_answer_of_another_api_is_refused(answer: bytes) -> None:
    """The error names the settings that choose the API."""
    with answering(lambda _: Reply(answer)) as server, pytest.raises(RerankerError, match=r"retrieval\.rerank_api"):
        _rerank(HttpReranker(url=server.url, model=MODEL))


def test_an_answer_that_breaks_off_may_come_whole_next_time() -> None:
    """The length that the server announced tells."""
    whole = json.dumps([{"index": 0, "score": 1.5}]).encode()
    replies = in_turn(
        Reply(whole[:9], headers={"content-length": str(len(whole)), "connection": "close"}), Reply(whole)
    )
    with answering(replies) as server:
        assert _rerank(HttpReranker(url=server.url, timeout=5), "oil") == [1.5]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is no address"),
        ("localhost:8080", "is no address"),
        ("ftp://localhost", "is no address"),
        ("http://", "is no address"),
        ("http://localhost:port", "is no address"),
        ("http://localhost:8080/?model=x", "has a query"),
        ("http://me:s3cret@localhost:8080", "holds a user or password"),
    ],
)
def test_a_wrong_address_is_refused_at_once(url: str, message: str) -> None:
    """Before any query, with the setting's name and without a password."""
    with pytest.raises(ConfigError, match=rf"retrieval\.rerank_url.*{message}") as caught:
        HttpReranker(url=url)
    assert "s3cret" not in str(caught.value)


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries go where the configuration says, and nowhere else."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with answering(tei) as server:
        assert len(_rerank(HttpReranker(url=server.url))) == 3

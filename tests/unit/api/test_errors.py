"""Errors over HTTP: the table, the problem bodies, and what a 5xx keeps to itself."""

import logging
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from retrieval import errors
from tests.unit.api.conftest import Stage

TABLE = {
    errors.FootnoteError: 500,
    errors.ConfigError: 500,
    errors.MissingExtra: 500,
    errors.InvalidRequest: 422,
    errors.InvalidQuery: 422,
    errors.InvalidFilter: 422,
    errors.UnknownField: 422,
    errors.NotFound: 404,
    errors.CollectionNotFound: 404,
    errors.DocumentNotFound: 404,
    errors.EditionNotFound: 404,
    errors.SourceNotFound: 404,
    errors.Conflict: 409,
    errors.CollectionExists: 409,
    errors.EmbedderMismatch: 500,
    errors.EditionChanged: 409,
    errors.EditionIncomplete: 409,
    errors.EditionLive: 409,
    errors.WriterBusy: 409,
    errors.StoreError: 500,
    errors.StoreUnavailable: 503,
    errors.StoreCorrupt: 500,
    errors.StoreTooNew: 500,
    errors.EmbedderError: 500,
    errors.ModelInvalid: 500,
    errors.EmbedderUnavailable: 503,
    errors.RerankerError: 502,
    errors.RerankerUnavailable: 503,
    errors.LoadError: 500,
    errors.UnsupportedMedia: 500,
    errors.EncryptedFile: 500,
    errors.CorruptFile: 500,
    errors.EmptyDocument: 500,
    errors.NeedsOcr: 500,
    errors.LimitExceeded: 500,
    errors.WorkerDied: 500,
    errors.FetchError: 500,
    errors.ChatModelError: 502,
    errors.ChatModelUnavailable: 503,
}
ANSWER = "/v1/collections/demo/answer"


def _tree(kind: type[errors.FootnoteError]) -> Iterator[type[errors.FootnoteError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def test_every_error_class_has_a_row_here() -> None:
    """A new error class cannot be added without deciding on its status."""
    assert {kind for kind in _tree(errors.FootnoteError) if kind.__module__ == "retrieval.errors"} == set(TABLE)


@pytest.mark.parametrize(("kind", "status"), TABLE.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_status_of_an_error(stage: Stage, client: TestClient, kind: type[errors.FootnoteError], status: int) -> None:
    """Each error class answers with its status, as a problem."""
    stage.answerer.fail_before = (0, kind("what went wrong at /srv/secret"))
    response = client.post(ANSWER, json={"question": "Which colour?"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status


@pytest.mark.parametrize(("kind", "status"), TABLE.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_only_a_callers_own_error_is_told(
    stage: Stage, client: TestClient, kind: type[errors.FootnoteError], status: int
) -> None:
    """The text of a 4xx reaches the caller; that of a 5xx, which may name paths and hosts, does not."""
    stage.answerer.fail_before = (0, kind("what went wrong at /srv/secret"))
    response = client.post(ANSWER, json={"question": "Which colour?"})
    assert ("/srv/secret" in response.text) == (status < 500)


def test_problem_has_the_members_of_rfc_9457(client: TestClient) -> None:
    """A problem says of which type it is, what happened, where, and under which id the log has it."""
    response = client.get("/v1/collections/nope", headers={"x-request-id": "r-1"})
    assert response.json() == {
        "type": "urn:footnote:problem:collection-not-found",
        "title": "Collection not found",
        "status": 404,
        "detail": "no collection 'nope'; GET /v1/collections lists those that there are",
        "instance": "/v1/collections/nope",
        "request_id": "r-1",
    }


@pytest.mark.parametrize("stream", [False, True])
def test_unexpected_error_tells_nothing_but_logs_all(
    stage: Stage, client: TestClient, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    """A bug gives a 500 without internals; the log has the traceback under the request's id."""
    stage.answerer.fail_before = (0, ZeroDivisionError("division by zero in the heart of it"))
    response = client.post(
        ANSWER, json={"question": "Which colour?", "stream": stream}, headers={"x-request-id": "r-2"}
    )
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "r-2"
    assert response.json()["type"] == "urn:footnote:problem:internal-error"
    assert "heart" not in response.text
    (record,) = [record for record in caplog.records if record.name == "api.errors"]
    assert "r-2" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is stage.answerer.fail_before[1]


def test_foreseen_5xx_is_logged_with_its_text(
    stage: Stage, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What a 503 does not tell the caller, the operator finds in the log."""
    stage.answerer.fail_before = (0, errors.StoreUnavailable("cannot reach db.internal"))
    with caplog.at_level(logging.ERROR, logger="api.errors"):
        client.post(ANSWER, json={"question": "Which colour?"})
    assert "cannot reach db.internal" in caplog.text


@pytest.mark.parametrize("kind", [errors.StoreUnavailable, errors.ChatModelUnavailable])
def test_unavailable_says_when_to_try_again(stage: Stage, client: TestClient, kind: type[errors.FootnoteError]) -> None:
    """A 503 carries Retry-After."""
    stage.answerer.fail_before = (0, kind("down"))
    assert client.post(ANSWER, json={"question": "Which colour?"}).headers["retry-after"] == "5"


@pytest.mark.parametrize(
    ("path", "body", "at"),
    [
        ("search", {}, "body.query"),
        ("search", {"query": ""}, "body.query"),
        ("search", {"query": 7}, "body.query"),
        ("search", {"query": "x", "k": 0}, "body.k"),
        ("search", {"query": "x", "k": 10**6}, "body.k"),
        ("search", {"query": "x", "k": 2.5}, "body.k"),
        ("search", {"query": "x", "k": "5"}, "body.k"),
        ("search", {"query": "x", "k": True}, "body.k"),
        ("search", {"query": "x", "top_k": 5}, "body.top_k"),
        ("search", {"query": "x", "filter": ["year"]}, "body.filter"),
        ("answer", {"question": ""}, "body.question"),
        ("answer", {"question": "x", "k": 0}, "body.k"),
        ("answer", {"question": "x", "k": 10**6}, "body.k"),
        ("answer", {"question": "x", "stream": 1}, "body.stream"),
        ("answer", {"query": "x"}, "body.question"),
    ],
)
def test_request_that_does_not_fit_is_refused_by_name(
    client: TestClient, path: str, body: dict[str, object], at: str
) -> None:
    """A missing, wrong, out-of-bounds or unknown member gives a 422 that names it."""
    response = client.post(f"/v1/collections/demo/{path}", json=body)
    assert response.status_code == 422
    assert at in [error["at"] for error in response.json()["errors"]]
    assert at in response.json()["detail"]


@pytest.mark.parametrize("path", ["search", "answer"])
def test_query_of_100_000_characters_is_refused_and_not_echoed(client: TestClient, path: str) -> None:
    """An endless query is a 422 whose body stays short."""
    text = "x" * 100_000
    response = client.post(f"/v1/collections/demo/{path}", json={"query" if path == "search" else "question": text})
    assert response.status_code == 422
    assert len(response.content) < 1_000


@pytest.mark.parametrize(
    ("filter", "kind", "named"),
    [
        ({"year": {"$near": 3}}, "invalid-filter", "$near"),
        ({"$xor": []}, "invalid-filter", "$xor"),
        ({"yaer": 2024}, "unknown-field", "yaer"),
    ],
)
@pytest.mark.parametrize("path", ["search", "answer"])
def test_bad_filter_is_refused(client: TestClient, path: str, filter: dict[str, object], kind: str, named: str) -> None:
    """An unknown operator and a field that no document has are told apart, each by name."""
    body = {"query" if path == "search" else "question": "x", "filter": filter}
    response = client.post(f"/v1/collections/demo/{path}", json=body)
    assert response.status_code == 422
    assert response.json()["type"] == f"urn:footnote:problem:{kind}"
    assert named in response.json()["detail"]


def test_malformed_json_is_refused(client: TestClient) -> None:
    """A body that is not JSON is a 422."""
    response = client.post(ANSWER, content=b'{"question": ', headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["detail"] == "body: not JSON: Expecting value at character 13"


def test_body_that_is_not_utf8_is_refused(client: TestClient) -> None:
    """Bytes that are no text are a 422 like any other unreadable body."""
    response = client.post(ANSWER, content=b'{"question": "\xff"}', headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert "UTF-8" in response.json()["detail"]


def test_deeply_nested_json_is_refused(client: TestClient) -> None:
    """A body nested fifty thousand levels deep, too deep for a parser's stack, is refused, and the server lives on."""
    body = b'{"query":"x","filter":' + b'{"$not":' * 50_000 + b"1" + b"}" * 50_001
    response = client.post("/v1/collections/demo/search", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert client.get("/healthz").status_code == 200


def test_body_of_another_type_is_refused(client: TestClient) -> None:
    """JSON sent as a form, which is what `curl -d` does, gets a 415 that says what to do."""
    response = client.post(
        ANSWER, content=b'{"question": "x"}', headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert response.status_code == 415
    assert "Content-Type: application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", ANSWER, 405), ("DELETE", "/healthz", 405)]
)
def test_unknown_paths_and_methods_are_problems_too(client: TestClient, method: str, path: str, status: int) -> None:
    """What the router refuses has the same kind of body."""
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert path in response.json()["detail"]


def test_key_and_host_settings_reach_no_problem(client_with: Callable[..., TestClient]) -> None:
    """A refused request never shows the key that was expected."""
    client = client_with(api_keys=["s3cret-key"])
    assert "s3cret-key" not in client.get("/v1/collections").text

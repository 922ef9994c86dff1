"""Follow-ups over HTTP: what was said before comes along, and what was searched for is told."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from api.schemas import AnswerResponse, SearchResponse
from tests.unit.api.conftest import Stage

SEARCH, ANSWER = "/v1/collections/demo/search", "/v1/collections/demo/answer"
SAID = [{"role": "user", "content": "Buoys?"}, {"role": "assistant", "content": "Red ones."}]


def _post(client: TestClient, path: str, **body: object) -> Any:
    asked = {"query": "Why?"} if path == SEARCH else {"question": "Why?"}
    return client.post(path, json={**asked, **body})


@pytest.mark.parametrize("path", [SEARCH, ANSWER])
def test_the_plan_is_told_when_it_is_not_the_query(client: TestClient, path: str) -> None:
    """Whole: query, parts and planner; null when the query was searched for as it is."""
    body = _post(client, path, history=SAID).json()
    assert body["plan"] == {"query": "Why? (Red ones.)", "parts": [], "planner": "fake"}
    assert (SearchResponse if path == SEARCH else AnswerResponse).model_validate(body)
    assert _post(client, path).json()["plan"] is None


def test_a_stream_has_the_history_too(client: TestClient, stage: Stage) -> None:
    """The last event is the answer as without a stream."""
    text = _post(client, ANSWER, history=SAID, stream=True).text
    assert '"plan":{"query":"Why? (Red ones.)"' in text


@pytest.mark.parametrize("path", [SEARCH, ANSWER])
@pytest.mark.parametrize(
    ("history", "at"),
    [
        ("Buoys?", "body.history"),
        ([{"role": "system", "content": "x"}], "body.history.0.role"),
        ([{"role": "user"}], "body.history.0.content"),
        ([{"role": "user", "content": None}], "body.history.0.content"),
        ([{"role": "user", "content": "x", "name": "y"}], "body.history.0.name"),
        ([{"role": "user", "content": "x" * 10_001}], "body.history.0.content"),
        ([{"role": "user", "content": "x"}] * 101, "body.history"),
        (None, "body.history"),
    ],
)
def test_a_history_that_is_none_is_refused(client: TestClient, path: str, history: object, at: str) -> None:
    """422, and the place of what is wrong."""
    response = _post(client, path, history=history)
    assert response.status_code == 422
    assert [error["at"] for error in response.json()["errors"]] == [at]

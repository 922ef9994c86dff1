"""Explained searches over HTTP."""

import pytest
from starlette.testclient import TestClient

from api.explanations import MAX_EXPLAINED
from api.schemas import SearchResponse

SEARCH = "/v1/collections/demo/search"


def test_nothing_is_explained_unasked(client: TestClient) -> None:
    """No member `explanation`, not even an empty one."""
    assert "explanation" not in client.post(SEARCH, json={"query": "buoys"}).json()
    assert "explanation" not in client.post(SEARCH, json={"query": "buoys", "explain": False}).json()


def test_the_explanation_is_bounded_and_counts_all(client: TestClient) -> None:
    """Results first; those that are not listed are counted."""
    body = client.post(SEARCH, json={"query": "buoys", "explain": True}).json()
    assert SearchResponse.model_validate(body)
    explanation = body["explanation"]
    assert [one["rank"] for one in explanation["candidates"][:3]] == [1, 2, None]
    assert len(explanation["candidates"]) == MAX_EXPLAINED
    assert explanation["total"] == 1_002
    assert explanation["left_out"] == {"k": 1_000}
    assert explanation["terms"] == [{"term": "buoy", "weight": 1.0, "chunks": 2, "idf": 0.5}]


@pytest.mark.parametrize("value", ["true", 1, None])
def test_explain_is_true_or_false(client: TestClient, value: object) -> None:
    """Nothing that could be taken for it."""
    response = client.post(SEARCH, json={"query": "buoys", "explain": value})
    assert response.status_code == 422
    assert [error["at"] for error in response.json()["errors"]] == ["body.explain"]

"""Search, collections, documents, health and the page: what they answer when all is well, and where their edges are."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from retrieval.errors import ModelInvalid
from tests.unit.api.conftest import Stage
from tests.unit.api.fakes import DOCUMENTS

DEMO = "/v1/collections/demo"


def test_search_returns_chunks_with_their_place(client: TestClient) -> None:
    """A result says what was found, where it stands, and with which score."""
    (first, *_) = client.post(f"{DEMO}/search", json={"query": "buoys", "k": 1}).json()["results"]
    assert first["stages"] == {"dense": first["score"]}
    assert DOCUMENTS[0].text[first["start"] : first["end"]] == first["text"]
    assert first["source_uri"] == "file:///a.md"


def test_search_applies_the_filter(client: TestClient) -> None:
    """Only documents that the filter lets through are found."""
    body = client.post(f"{DEMO}/search", json={"query": "x", "filter": {"tags": "sea"}}).json()
    assert [result["doc_id"] for result in body["results"]] == ["doc-b"]


@pytest.mark.parametrize("k", [1, 1_000])
def test_search_takes_k_up_to_its_bounds(client: TestClient, k: int) -> None:
    """The smallest and the largest k are accepted."""
    response = client.post(f"{DEMO}/search", json={"query": "x", "k": k})
    assert len(response.json()["results"]) == min(k, len(DOCUMENTS))


def test_collections_are_listed_by_name(client: TestClient) -> None:
    """The list is sorted."""
    assert client.get("/v1/collections").json() == {"collections": ["demo", "other"]}


def test_collection_tells_what_it_holds(client: TestClient) -> None:
    """Counts, filterable fields, and the live edition with its model and chunking are told."""
    body = client.get(DEMO).json()
    assert (body["documents"], body["fields"]) == (2, ["tags", "year"])
    edition = body["edition"]
    assert (edition["number"], edition["embedder"]["name"], edition["chunking"]["chunk_tokens"]) == (1, "fake", 200)


def test_documents_come_in_pages(client: TestClient) -> None:
    """Following `next` shows every document once and ends with null."""
    first = client.get(f"{DEMO}/documents", params={"limit": 1}).json()
    assert ([document["doc_id"] for document in first["documents"]], first["next"]) == (["doc-a"], "doc-a")
    second = client.get(f"{DEMO}/documents", params={"limit": 1, "after": first["next"]}).json()
    assert ([document["doc_id"] for document in second["documents"]], second["next"]) == (["doc-b"], None)


def test_documents_are_filtered(client: TestClient) -> None:
    """A filter in the query string is JSON, and means what it means in a search."""
    body = client.get(f"{DEMO}/documents", params={"filter": '{"year": {"$gt": 2024}}'}).json()
    assert [document["doc_id"] for document in body["documents"]] == ["doc-b"]


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"filter": "year=2024"}, "invalid-filter"),
        ({"filter": '{"year": {"$near": 1}}'}, "invalid-filter"),
        ({"filter": '{"yaer": 1}'}, "unknown-field"),
        ({"filter": "[" * 5_000}, "invalid-filter"),
        ({"limit": 0}, "invalid-request"),
        ({"limit": 1_001}, "invalid-request"),
        ({"limit": "all"}, "invalid-request"),
    ],
)
def test_bad_listing_parameters_are_refused(client: TestClient, params: dict[str, str], kind: str) -> None:
    """Each bad parameter gives a 422 of its kind."""
    response = client.get(f"{DEMO}/documents", params=params)
    assert response.status_code == 422
    assert response.json()["type"] == f"urn:footnote:problem:{kind}"


def test_document_is_read_whole(client: TestClient) -> None:
    """Without a range the whole text comes, characters outside the BMP counted as one."""
    body = client.get(f"{DEMO}/documents/doc-a").json()
    assert body["text"] == DOCUMENTS[0].text
    assert (body["start"], body["end"]) == (0, body["characters"])


@pytest.mark.parametrize(
    ("start", "end", "text"), [(14, 20, "Twice."), (14, 999, "Twice."), (20, 20, ""), (0, 0, ""), (20, 999, "")]
)
def test_document_is_read_in_part(client: TestClient, start: int, end: int, text: str) -> None:
    """A range gives exactly its characters; an end past the text means the end of the text."""
    body = client.get(f"{DEMO}/documents/doc-b", params={"start": start, "end": end}).json()
    assert body["text"] == text
    assert (body["start"], body["end"]) == (start, min(end, 20))


def test_document_range_tells_its_page(client: TestClient) -> None:
    """The page is that of the first character asked for."""
    assert client.get(f"{DEMO}/documents/doc-b", params={"start": 14}).json()["page"] == 2


@pytest.mark.parametrize("params", [{"start": 21}, {"start": 5, "end": 4}, {"start": -1}, {"end": -1}, {"start": "x"}])
def test_bad_range_is_refused(client: TestClient, params: dict[str, str]) -> None:
    """A range that begins behind its end or behind the text is a 422."""
    assert client.get(f"{DEMO}/documents/doc-b", params=params).status_code == 422


def test_unknown_document_is_not_found(client: TestClient) -> None:
    """An unknown doc_id is a 404 that names it."""
    response = client.get(f"{DEMO}/documents/doc-z")
    assert response.status_code == 404
    assert "doc-z" in response.json()["detail"]


def test_document_that_changed_is_not_shown_for_an_old_footnote(client: TestClient) -> None:
    """Offsets belong to a version: asking for another one is a 404, not another text."""
    response = client.get(f"{DEMO}/documents/doc-a", params={"version": "0" * 16})
    assert response.status_code == 404
    assert DOCUMENTS[0].version in response.json()["detail"]


def test_healthy_and_ready(client: TestClient) -> None:
    """Both probes answer 200 when all is well."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_not_ready_when_collections_cannot_be_listed(
    stage: Stage, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that cannot answer says so to its load balancer, while it is still alive."""

    def fail() -> list[str]:
        raise ModelInvalid("hash differs")

    monkeypatch.setattr(stage.collections, "names", fail)
    assert client.get("/readyz").status_code == 500
    assert client.get("/healthz").status_code == 200


def test_collection_is_opened_once_and_closed_at_the_end(stage: Stage, client_with: Callable[..., TestClient]) -> None:
    """However many requests, a collection is opened at the first and closed at shutdown."""
    client = client_with()
    for _ in range(3):
        client.get(DEMO)
    assert stage.collections.opened == ["demo"]
    assert not stage.store.closed
    client.__exit__(None, None, None)
    assert stage.store.closed


def test_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    """The page and its files name no other host, and the browser is told to refuse one."""
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for text in (page.text, client.get("/static/style.css").text, client.get("/static/page.js").text):
        assert "http://" not in text
        assert "https://" not in text


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "..%2Fapp.py", "%2Fetc%2Fpasswd"])
def test_page_serves_only_its_own_files(client: TestClient, name: str) -> None:
    """Nothing but the files of the page can be had under /static."""
    assert client.get(f"/static/{name}").status_code == 404

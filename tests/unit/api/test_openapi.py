"""The OpenAPI document: complete, with examples, and true to what the service answers."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from api.examples import RESPONSES
from api.schemas import (
    AnswerRequest,
    AnswerResponse,
    CollectionResponse,
    CollectionsResponse,
    DocumentResponse,
    DocumentsResponse,
    HealthResponse,
    ProblemResponse,
    SearchRequest,
    SearchResponse,
)

OPERATIONS: dict[tuple[str, str], type[BaseModel]] = {
    ("post", "/v1/collections/{collection}/search"): SearchResponse,
    ("post", "/v1/collections/{collection}/answer"): AnswerResponse,
    ("get", "/v1/collections"): CollectionsResponse,
    ("get", "/v1/collections/{collection}"): CollectionResponse,
    ("get", "/v1/collections/{collection}/documents"): DocumentsResponse,
    ("get", "/v1/collections/{collection}/documents/{doc_id}"): DocumentResponse,
    ("get", "/healthz"): HealthResponse,
    ("get", "/readyz"): HealthResponse,
}


@pytest.fixture
def document(client: TestClient) -> Any:
    """The document as it is served."""
    return client.get("/openapi.json").json()


def _operations(document: Any) -> dict[tuple[str, str], Any]:
    return {(method, path): each for path, item in document["paths"].items() for method, each in item.items()}


def test_every_operation_is_described(document: Any) -> None:
    """All operations are there, each with a summary and a description, and no others."""
    operations = _operations(document)
    assert set(operations) == set(OPERATIONS)
    assert all(each["summary"] and each["description"] for each in operations.values())


def test_references_resolve(document: Any) -> None:
    """Every $ref points at a schema that is there."""

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    found = references(document)
    assert found
    assert {name.removeprefix("#/components/schemas/") for name in found} <= set(document["components"]["schemas"])


def test_problems_are_documented_with_examples(document: Any) -> None:
    """Each 4xx and 5xx of each operation is a problem with an example that fits the problem schema."""
    for (_, path), operation in _operations(document).items():
        for status, response in operation["responses"].items():
            if status < "400":
                continue
            examples = response["content"]["application/problem+json"]["examples"]
            assert examples, (path, status)
            for example in examples.values():
                assert ProblemResponse.model_validate(example["value"]).status == int(status)


@pytest.mark.parametrize("status", ["401", "404", "413", "415", "422", "500", "502", "503"])
def test_answer_documents_what_it_can_answer(document: Any, status: str) -> None:
    """Asking a question lists every way in which it can fail."""
    assert status in document["paths"]["/v1/collections/{collection}/answer"]["post"]["responses"]


@pytest.mark.parametrize(("operation", "model"), OPERATIONS.items(), ids=str)
def test_response_examples_are_valid(operation: tuple[str, str], model: type[BaseModel]) -> None:
    """The example of each successful response has exactly the members that its schema promises."""
    assert model.model_validate(RESPONSES[operation]).model_dump(mode="json") == RESPONSES[operation]


def test_response_examples_are_shown(document: Any) -> None:
    """Each kind of content of each successful response has its example."""
    for (_, path), operation in _operations(document).items():
        assert all("example" in each for each in operation["responses"]["200"]["content"].values()), path


def test_requests_have_examples_that_are_valid(document: Any) -> None:
    """The request examples can be sent as they stand."""
    for path, model in (("search", SearchRequest), ("answer", AnswerRequest)):
        operation = document["paths"][f"/v1/collections/{{collection}}/{path}"]["post"]
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        assert examples
        for example in examples.values():
            model.model_validate(example["value"])


def test_key_is_documented_where_one_is_asked_for(client_with: Callable[..., TestClient]) -> None:
    """With keys, every operation under /v1 declares the Bearer scheme; without, none does; the probes never."""
    for keys in ([], ["a-key"]):
        operations = _operations(client_with(api_keys=keys).get("/openapi.json").json())
        secured = {path for (_, path), operation in operations.items() if operation.get("security")}
        assert secured == ({path for _, path in OPERATIONS if path.startswith("/v1")} if keys else set())


def test_no_page_of_the_framework_loads_from_a_cdn(client: TestClient) -> None:
    """The framework's own documentation pages, which load scripts from elsewhere, are not served."""
    assert [client.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]

"""What the OpenAPI document says beyond the types: every problem that an operation can answer, with an example."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.errors import MEDIA_TYPE, Problem, problem_of, validation_problem
from api.examples import REQUESTS, RESPONSES
from api.schemas import ProblemResponse
from retrieval import errors

_EXAMPLES: dict[type[errors.FootnoteError], str] = {
    errors.InvalidRequest: "start 900 lies behind the end 640; the document has 640 characters, and start must not be "
    "greater than end",
    errors.InvalidQuery: "the query is empty: ask something",
    errors.InvalidFilter: "filter.year.$near: unknown operator '$near'; known: $eq, $gt, $gte, $lt, $lte, $ne, $in, "
    "$nin, $exists, $not",
    errors.UnknownField: "no document has the field 'yaer'; fields here: doc_id, media_type, source_uri, title, year",
    errors.CollectionNotFound: "no collection 'demo2'; GET /v1/collections lists those that there are",
    errors.DocumentNotFound: "no document '6f1c' in this collection",
    errors.EmbedderMismatch: "",  # the text of a 5xx is fixed
    errors.StoreUnavailable: "",
    errors.ModelInvalid: "",
    errors.ChatModelError: "",
    errors.ChatModelUnavailable: "",
}
_ALWAYS = (
    validation_problem([{"loc": ("body", "k"), "msg": "Input should be less than or equal to 1000", "input": 5000}]),
    Problem("internal-error", 500, problem_of(Exception()).detail),
)
ANSWER_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["sentence", "answer", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
"""Schema of one event, as OpenAPI 3.2 describes streams."""
ANSWER_STREAM = (
    'event: sentence\ndata: {"text":"They are kept for 90 days.","citations":[...]}\n\n'
    'event: answer\ndata: {"question":"How long is lost property kept?","status":"answered",...}\n\n'
)
_UNDER_V1 = (
    Problem(
        "unauthorized",
        401,
        "this needs a key: send the header 'Authorization: Bearer KEY' with one of the server's api_keys",
    ),
)
_WITH_BODY = (
    Problem("unsupported-media-type", 415, "send the body as JSON, with the header 'Content-Type: application/json'"),
    Problem("content-too-large", 413, "the body is larger than 1048576 bytes, the most that this server takes"),
)


def problems(*kinds: type[errors.FootnoteError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that can fail in these ways, and in those in which every operation can."""
    responses: dict[int | str, dict[str, Any]] = {}
    for problem in (*(problem_of(kind(_EXAMPLES[kind])) for kind in kinds), *_ALWAYS):
        _add(responses, problem)
    return responses


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `app`."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schema = ProblemResponse.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["ProblemResponse"] = schema
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, method, path)
    return document


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    responses = operation["responses"]
    for problem in (*(_UNDER_V1 if path.startswith("/v1") else ()), *(_WITH_BODY if method == "post" else ())):
        _add(responses, problem)
    responses["200"]["content"]["application/json"]["example"] = RESPONSES[method, path]
    if method == "post":
        operation["requestBody"]["content"]["application/json"]["examples"] = REQUESTS[method, path]
    for response in responses.values():
        response["headers"] = {
            "x-request-id": {
                "description": "The request's id: yours if you sent one, else ours.",
                "schema": {"type": "string"},
            }
        }


def _add(responses: dict[Any, dict[str, Any]], problem: Problem) -> None:
    body = problem.body(instance="/v1/collections/demo/answer", request_id="0b6f2f2e4c7b4e5e9d3b0c0a4f5d1e77")
    # FastAPI keys operations by text, `responses=` by number; both mean the same here.
    key = str(problem.status) if any(isinstance(key, str) for key in responses) else problem.status
    response = responses.setdefault(
        key,
        {
            "description": body["title"],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemResponse"}, "examples": {}}},
        },
    )
    response["content"][MEDIA_TYPE]["examples"][problem.kind] = {"value": body}

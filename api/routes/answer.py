"""Answers, whole or as they come. Both ways end in the same object, made by one function."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api import schemas
from api.openapi import ANSWER_EVENT, ANSWER_STREAM, problems
from api.routes.access import CollectionHere, SettingsHere
from api.streaming import Event, EventStream
from generation.records import AnswerEvent, AnswerStream, SentenceEvent
from generation.serialize import answer_to_dict, sentence_to_dict
from retrieval import filters
from retrieval.errors import (
    ChatModelError,
    ChatModelUnavailable,
    CollectionNotFound,
    EmbedderMismatch,
    InvalidFilter,
    InvalidQuery,
    StoreUnavailable,
    UnknownField,
)

router = APIRouter(prefix="/v1/collections/{collection}", tags=["answers"])
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": schemas.AnswerResponse,
        "description": "The answer; with `stream`, the events `sentence` (one for each), then `answer` (the same "
        "object as without `stream`), or `error` (a problem) if it fails midway.",
        "content": {"text/event-stream": {"itemSchema": ANSWER_EVENT, "example": ANSWER_STREAM}},
    },
    **problems(
        ChatModelError,
        ChatModelUnavailable,
        CollectionNotFound,
        EmbedderMismatch,
        InvalidFilter,
        InvalidQuery,
        StoreUnavailable,
        UnknownField,
    ),
}


@router.post("/answer", summary="Ask a question", response_model=None, responses=_RESPONSES)
def answer(opened: CollectionHere, settings: SettingsHere, asked: schemas.AnswerRequest, request: Request) -> Response:
    """Answers from the documents, or declines and says why. Every citation was verified against the stored text."""
    node = None if asked.filter is None else filters.parse(asked.filter)
    said = schemas.turns(asked.history)
    if not asked.stream:
        whole = opened.answerer.answer(asked.question, k=asked.k, filter=node, history=said)
        return JSONResponse(answer_to_dict(whole))

    return EventStream(
        request,
        lambda: opened.answerer.stream(asked.question, k=asked.k, filter=node, history=said),
        encode=_event,
        heartbeat_seconds=settings.heartbeat_seconds,
    )


def _event(item: AnswerStream) -> Event:
    match item:
        case SentenceEvent(sentence):
            return Event("sentence", sentence_to_dict(sentence))
        case AnswerEvent(answer):
            return Event("answer", answer_to_dict(answer))

"""The chat model as a query planner: one call makes a follow-up complete in itself and takes several questions apart.

What a model writes here is searched for and shown to people as their question, so it is held against what they typed:
a plan that loses or invents an identifier or a number is thrown away, and the rules of `retrieval.queries` take over.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, Field, ValidationError

from generation.ports import ChatModel, ChatRequest, Message
from generation.prompt import planning_messages
from retrieval.embedders.tokenizer import encodable
from retrieval.errors import ChatModelError
from retrieval.ports import QueryPlanner
from retrieval.queries.identifiers import identifiers, is_identifier
from retrieval.records import QueryPlan, Turn

_log = logging.getLogger(__name__)

MAX_TURNS = 10
MAX_TURN_CHARACTERS = 600
"""What is shown of a conversation: some 1,500 tokens at most."""

MAX_QUERY_CHARACTERS = 2_000
"""Longer queries are not planned by the model: a text of that size says itself what it is about."""

MAX_PARTS = 4
MAX_GROWTH = 1_000
"""Characters that a plan may be longer than the query; who writes more is answering it."""

MAX_ANSWER_CHARACTERS = 20_000
"""A model that writes more has lost its way."""


class ModelPlanner:
    """The port `QueryPlanner` by a chat model. Thread-safe when the model is.

    `fallback` plans when the model cannot, or has nothing to do: a query without history that is one plain question is
    not worth a call. `max_tokens` is for the plan; a model that thinks aloud needs more than the plan takes.
    """

    def __init__(self, model: ChatModel, *, fallback: QueryPlanner, max_tokens: int = 512) -> None:
        self._model = model
        self._fallback = fallback
        self._max_tokens = max_tokens

    def plan(self, query: str, *, history: Sequence[Turn] = (), language: str = "english") -> QueryPlan:
        """The model's plan, or that of the fallback with a note that says why."""
        ruled = self._fallback.plan(query, history=history, language=language)
        if len(query) > MAX_QUERY_CHARACTERS or not (history or _MANY.search(query)):
            return ruled
        try:
            written = self._completion(_messages(query, history), query)
        except ChatModelError as exc:
            # Notes go to callers, whom addresses and what servers say do not concern.
            _log.warning("no plan: %s", exc)
            return _noted(
                ruled, f"the query was planned by rules, not by {self._model.name}: it failed; the log has the reason"
            )
        reply = parse(written)
        problem = "it wrote no plan in JSON" if reply is None else _problem(reply, query, history)
        if reply is None or problem:
            return _noted(ruled, f"the query was planned by rules, not by {self._model.name}: {problem}")
        parts = tuple(reply.parts) if len(reply.parts) > 1 else ()
        return QueryPlan(reply.question, parts, planner=self._model.name)

    def _completion(self, messages: Sequence[Message], query: str) -> str:
        request = ChatRequest(messages=messages, question=query, chunks=(), max_tokens=self._max_tokens)
        text = ""
        for delta in self._model.stream(request):
            text += delta.text
            if len(text) > MAX_ANSWER_CHARACTERS:
                break
        return text


class Reply(BaseModel):
    """What the model is asked to write."""

    question: str = Field(min_length=1)
    parts: list[str] = Field(default_factory=list, max_length=MAX_PARTS)


def parse(written: str) -> Reply | None:
    """The first JSON object in what a model wrote that is a plan; None when there is none.

    Words and fences of code around it are passed over, and so is what a model thinks aloud.
    """
    answer = written.rpartition("</think>")[2]
    for data in _objects(answer):
        try:
            reply = Reply.model_validate(data)
        except ValidationError:
            continue
        question = " ".join(encodable(reply.question).split())
        parts = [" ".join(encodable(part).split()) for part in reply.parts]
        if question:
            return Reply(question=question, parts=list(dict.fromkeys(part for part in parts if part)))
    return None


def _objects(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    begin = text.find("{")
    for _ in range(20):  # braces that begin no JSON are no reason to go over the text for ever
        if begin < 0:
            return
        try:
            data, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            end = begin + 1
        else:
            yield data
        begin = text.find("{", end)


_MANY = re.compile(
    r"\?.*\S.*\?|[;\n]|,|\b(?:and|or|vs\.?|versus|compare|difference|und|oder|et|ou|y|o)\b|[、；]", re.IGNORECASE
)
"""Signs that a query may ask for several things; what they are is for the model to say."""


def _problem(reply: Reply, query: str, history: Sequence[Turn]) -> str:
    """What is wrong with a plan; empty when it says what was asked."""
    if len(reply.question) > len(query) + MAX_GROWTH or any(
        len(part) > len(query) + MAX_GROWTH for part in reply.parts
    ):
        return "its plan is much longer than the query"
    parts = " ".join(reply.parts)
    for text in (reply.question, parts):
        if text and (lost := _missing(query, text)):
            return f"its plan lost {', '.join(lost)}"
    said = " ".join([query, *(turn.content for turn in history)])
    if invented := _missing(f"{reply.question} {parts}", said):
        return f"its plan has {', '.join(invented)}, which nobody said"
    return ""


def _missing(there: str, here: str) -> list[str]:
    """What of one text has to be in another and is not: identifiers and numbers whole, quoted phrases anywhere."""
    whole = set(_marks(here))
    return [
        repr(mark)
        for mark in _marks(there)
        if mark not in whole and (is_identifier(mark) or mark[0].isdigit() or mark not in here)
    ]


_NUMBER = re.compile(r"(?<![\w.,])\d[\d.,]*\d(?!\w)")


def _marks(text: str) -> list[str]:
    """Identifiers and quoted phrases, then the numbers of two digits and more beside them."""
    found = list(identifiers(text))
    for mark in found:
        text = text.replace(mark, " ")
    return list(dict.fromkeys([*found, *_NUMBER.findall(text)]))


def _messages(query: str, history: Sequence[Turn]) -> tuple[Message, ...]:
    said = [f"{turn.role}: {encodable(turn.content[:MAX_TURN_CHARACTERS])}" for turn in history[-MAX_TURNS:]]
    return planning_messages(encodable(query), said, parts=MAX_PARTS)


def _noted(plan: QueryPlan, note: str) -> QueryPlan:
    return QueryPlan(plan.query, plan.parts, plan.planner, note)

"""Answers as JSON and back: the one definition, for the command line, the HTTP interface and `footnote verify`."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from generation.records import Answer, Citation, Sentence, Usage
from retrieval.errors import InvalidRequest
from retrieval.explanation import Explanation
from retrieval.records import QueryPlan, ScoredChunk, Turn

T = TypeVar("T")


def answer_to_dict(answer: Answer, *, with_retrieved: bool = False) -> dict[str, Any]:
    """JSON types only. `text` is added for reading; the retrieved chunks only on demand, for they are long."""
    data: dict[str, Any] = {
        "question": answer.question,
        "collection": answer.collection,
        "status": answer.status,
        "text": answer.text,
        "sentences": [sentence_to_dict(sentence) for sentence in answer.sentences],
        "evidence": answer.evidence,
        "model": answer.model,
        "dropped_citations": answer.dropped_citations,
        "usage": asdict(answer.usage),
        "timings": dict(answer.timings),
        "plan": plan_to_dict(answer.plan, answer.question),
        "notes": list(answer.notes),
    }
    if with_retrieved:
        data["retrieved"] = [scored_chunk_to_dict(scored) for scored in answer.retrieved]
    return data


def plan_to_dict(plan: QueryPlan, asked: str) -> dict[str, Any] | None:
    """What was searched for in place of `asked`, as JSON types; None when that is what was asked."""
    if plan.query in ("", asked) and not plan.parts:
        return None
    return {"query": plan.query, "parts": list(plan.parts), "planner": plan.planner}


def sentence_to_dict(sentence: Sentence) -> dict[str, Any]:
    """A sentence with its citations, as JSON types."""
    return {"text": sentence.text, "citations": [asdict(citation) for citation in sentence.citations]}


def scored_chunk_to_dict(scored: ScoredChunk) -> dict[str, Any]:
    """A retrieved chunk with its scores, as JSON types."""
    chunk, document = scored.chunk, scored.document
    return {
        "chunk_id": chunk.chunk_id,
        "doc_id": chunk.doc_id,
        "version": chunk.version,
        "source_uri": document.source_uri,
        "title": document.title,
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
        "headings": list(chunk.headings),
        "text": chunk.text,
        "score": scored.score,
        "stages": dict(scored.stages),
        "metadata": {
            key: list(value) if isinstance(value, tuple) else value for key, value in document.metadata.items()
        },
    }


def explanation_to_dict(explanation: Explanation, *, limit: int | None = None) -> dict[str, Any]:
    """Why a ranking is as it is, as JSON types; only the first `limit` of its candidates, which begin with the results.

    `left_out` counts all candidates that are no results, by what took them out.
    """
    return {
        "stages": list(explanation.stages),
        "terms": [asdict(term) for term in explanation.terms],
        "total": len(explanation.candidates),
        "left_out": explanation.left_out(),
        "candidates": [asdict(trace) for trace in explanation.candidates[:limit]],
    }


def answer_from_dict(data: object) -> Answer:
    """The answer that `answer_to_dict` wrote; without its retrieved chunks. Raises InvalidRequest, naming the place."""
    top = _object(data, "answer")
    status = _take(top, "status", str, "answer")
    if status not in ("answered", "declined"):
        raise InvalidRequest(f"answer.status: expected 'answered' or 'declined', got {status!r:.100}")
    usage = _object(top.get("usage", {}), "answer.usage")
    return Answer(
        question=_take(top, "question", str, "answer"),
        collection=_take(top, "collection", str, "answer"),
        status="answered" if status == "answered" else "declined",
        sentences=tuple(
            _sentence(item, f"answer.sentences[{i}]") for i, item in enumerate(_take(top, "sentences", list, "answer"))
        ),
        evidence=_number(top, "evidence", "answer"),
        model=_take(top, "model", str, "answer"),
        dropped_citations=_take(top, "dropped_citations", int, "answer") if "dropped_citations" in top else 0,
        usage=Usage(**{field.name: _take(usage, field.name, int, "answer.usage") for field in fields(Usage)})
        if usage
        else Usage(),
        timings={
            name: _number(_object(top["timings"], "answer.timings"), name, "answer.timings")
            for name in _object(top.get("timings", {}), "answer.timings")
        },
    )


MAX_TURNS = 100
MAX_TURN_CHARACTERS = 10_000


def turns_from_list(data: object) -> tuple[Turn, ...]:
    """The turns of a conversation, written `[{"role": "user", "content": "..."}, ...]`, oldest first.

    Raises InvalidRequest, naming the place: other members and roles, more than `MAX_TURNS`, texts that are too long.
    """
    if not isinstance(data, list):
        raise InvalidRequest(
            f'history: expected a list such as [{{"role": "user", "content": "..."}}], got {data!r:.100}'
        )
    if len(data) > MAX_TURNS:
        raise InvalidRequest(f"history: {len(data)} turns, at most {MAX_TURNS}; leave the oldest out")
    return tuple(_turn(item, f"history[{i}]") for i, item in enumerate(data))


def _turn(data: object, path: str) -> Turn:
    if not isinstance(data, Mapping) or set(data) != {"role", "content"}:
        raise InvalidRequest(f'{path}: expected {{"role": "user", "content": "..."}} and no more, got {data!r:.100}')
    role, content = data["role"], _take(data, "content", str, path)
    if role not in ("user", "assistant"):
        raise InvalidRequest(f"{path}.role: expected 'user' or 'assistant', got {role!r:.100}")
    if len(content) > MAX_TURN_CHARACTERS:
        raise InvalidRequest(f"{path}.content: {len(content)} characters, at most {MAX_TURN_CHARACTERS}; shorten it")
    return Turn("user" if role == "user" else "assistant", content)


def _sentence(data: object, path: str) -> Sentence:
    item = _object(data, path)
    citations = _take(item, "citations", list, path)
    return Sentence(
        text=_take(item, "text", str, path),
        citations=tuple(_citation(citation, f"{path}.citations[{i}]") for i, citation in enumerate(citations)),
    )


def _citation(data: object, path: str) -> Citation:
    item = _object(data, path)
    texts = {
        name: _take(item, name, str, path) for name in ("doc_id", "source_uri", "title", "version", "chunk_id", "quote")
    }
    page = None if item.get("page") is None else _take(item, "page", int, path)
    return Citation(
        **texts,
        start=_take(item, "start", int, path),
        end=_take(item, "end", int, path),
        page=page,
        support=_number(item, "support", path),
    )


def _object(data: object, path: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidRequest(f"{path}: expected an object as `footnote ask --json` prints it, got {data!r:.100}")
    return data


def _take(data: Mapping[str, Any], name: str, kind: type[T], path: str) -> T:
    if name not in data:
        raise InvalidRequest(f"{path}: {name!r} is missing; give an answer as `footnote ask --json` prints it")
    value = data[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise InvalidRequest(f"{path}.{name}: expected {kind.__name__}, got {value!r:.100}")
    return value


def _number(data: Mapping[str, Any], name: str, path: str) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{path}.{name}: expected a number, got {value!r:.100}")
    return float(value)

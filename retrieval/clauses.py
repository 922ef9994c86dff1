"""Which part of a filter keeps a document out, written as its author would."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retrieval import filters
from retrieval.filters import And, Compare, Exists, Filter, In, Not, Or
from retrieval.records import DocumentInfo, Scalar


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition that a document does not meet."""

    text: str
    """As JSON, e.g. '{"year": {"$gte": 2023}}'."""
    values: Mapping[str, tuple[Scalar, ...]]
    """What the document has in each field that the condition names; empty for a field that it has not."""


def refusing(node: Filter, document: DocumentInfo) -> tuple[Clause, ...]:
    """The conditions, all of which have to be met, that `document` does not meet; empty when it passes."""
    if filters.matches(node, document):
        return ()
    if isinstance(node, And):
        return tuple(clause for child in node.children for clause in refusing(child, document))
    fields = dict.fromkeys(_fields(node))
    text = json.dumps(as_json(node), ensure_ascii=False)
    return (Clause(text, {field: tuple(filters.values(document, field)) for field in fields}),)


def as_json(node: Filter) -> dict[str, Any]:
    """The JSON form that `filters.parse` reads as `node`."""
    match node:
        case Compare(field, op, value):
            return {field: value if op == "$eq" else {op: value}}
        case In(field, values):
            return {field: {"$in": list(values)}}
        case Exists(field, present):
            return {field: {"$exists": present}}
        case Not(child):
            return _negation(child)
        case And(children) | Or(children):
            each = [as_json(child) for child in children]
            return {"$or" if isinstance(node, Or) else "$and": each} if each else {}


def _negation(node: Filter) -> dict[str, Any]:
    match node:
        case Compare(field, "$eq", value):
            return {field: {"$ne": value}}
        case In(field, values):
            return {field: {"$nin": list(values)}}
        case _:
            return {"$not": as_json(node)}


def _fields(node: Filter) -> Iterator[str]:
    """Every field that the filter names."""
    match node:
        case Compare(field, _, _) | In(field, _) | Exists(field, _):
            yield field
        case Not(child):
            yield from _fields(child)
        case And(children) | Or(children):
            for child in children:
                yield from _fields(child)

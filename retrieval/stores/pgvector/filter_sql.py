"""Filters as SQL conditions over `document d`; `filters.matches` says what they must mean.

A condition on metadata is a jsonpath: in lax mode `[*]` gives a scalar itself and the members of a list, values of two
types never compare, texts compare by code point (in a database with UTF-8), numbers by their exact value. The index on
`metadata` answers equality. Every path and value is bound; inside a path, names and values are JSON literals.
"""

from collections.abc import Iterable, Sequence

from retrieval.filters import BUILTIN_FIELDS, And, Compare, Exists, Filter, In, Not, Or
from retrieval.records import Scalar
from retrieval.stores.pgvector.rows import json_text
from retrieval.stores.pgvector.text import escape

Sql = tuple[str, list[object]]
_OPERATOR = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_COLUMN = {name: f"d.{name}" for name in BUILTIN_FIELDS}


def condition(node: Filter, collection_key: int) -> Sql:
    """A condition that is never NULL, and the values bound to it, in order."""
    match node:
        case Compare(field, op, value):
            return _compare(collection_key, field, op, value)
        case In(field, values):
            return _in(collection_key, field, values)
        case Exists(field, present):
            sql, bound = ("TRUE", []) if field in _COLUMN else _path(collection_key, field, "")
            return (sql if present else f"NOT {sql}"), bound
        case Not(child):
            sql, bound = condition(child, collection_key)
            return f"NOT {sql}", bound
        case And(children):
            return _joined([condition(child, collection_key) for child in children], " AND ", "TRUE")
        case Or(children):
            return _joined([condition(child, collection_key) for child in _merged(children)], " OR ", "FALSE")


def _compare(collection_key: int, field: str, op: str, value: Scalar) -> Sql:
    if field in _COLUMN:
        return (f"({_COLUMN[field]} {_OPERATOR[op]} %s)", [escape(value)]) if isinstance(value, str) else ("FALSE", [])
    sign = "==" if op == "$eq" else _OPERATOR[op]
    return _path(collection_key, field, f" ? (@ {sign} {json_text(value)})")


def _in(collection_key: int, field: str, values: Sequence[Scalar]) -> Sql:
    if field in _COLUMN:
        return f"({_COLUMN[field]} = ANY(%s))", [[escape(value) for value in values if isinstance(value, str)]]
    if not values:
        return "FALSE", []
    return _path(collection_key, field, f" ? ({_any([f'@ == {json_text(value)}' for value in values])})")


def _path(collection_key: int, field: str, test: str) -> Sql:
    return "(d.metadata @? %s::jsonpath)", [f'$."{collection_key}".{json_text(field)}[*]{test}']


def _any(tests: Sequence[str]) -> str:
    """Joined as a balanced tree: the server reads a chain of ten thousand by as many calls within calls."""
    if len(tests) == 1:
        return tests[0]
    middle = len(tests) // 2
    return f"({_any(tests[:middle])} || {_any(tests[middle:])})"


def _merged(children: Sequence[Filter]) -> Iterable[Filter]:
    """Alternatives for one field as one question, so that thousands of them cost no more than a list."""
    values: dict[str, dict[tuple[type, Scalar], Scalar]] = {}
    for child in children:
        match child:
            case Compare(field, "$eq", value):
                values.setdefault(field, {})[type(value), value] = value
            case In(field, several):
                values.setdefault(field, {}).update({(type(value), value): value for value in several})
            case _:
                yield child
    for field, found in values.items():
        yield In(field, tuple(found.values()))


def _joined(parts: Sequence[Sql], word: str, empty: str) -> Sql:
    if not parts:
        return empty, []
    return f"({word.join(sql for sql, _ in parts)})", [value for _, bound in parts for value in bound]

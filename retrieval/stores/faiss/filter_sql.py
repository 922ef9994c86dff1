"""Filters as SQL conditions over `document d` and `attribute`; `filters.matches` says what they must mean."""

from collections import defaultdict
from collections.abc import Sequence

from retrieval.filters import BUILTIN_FIELDS, And, Compare, Exists, Filter, In, Not, Or, kind
from retrieval.records import Scalar

Sql = tuple[str, list[Scalar]]
_OPERATOR = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_COLUMN = {name: f"d.{name}" for name in BUILTIN_FIELDS}


def condition(node: Filter) -> Sql:
    """A condition that is never NULL, and the values bound to it, in order."""
    match node:
        case Compare(field, op, value):
            return _compare(field, op, value)
        case In(field, values):
            return _in(field, values)
        case Exists(field, present):
            sql, bound = _exists(field)
            return (sql if present else f"NOT {sql}"), bound
        case Not(child):
            sql, bound = condition(child)
            return f"NOT {sql}", bound
        case Or(children):
            return _any([condition(child) for child in children])
        case And(children):
            # De Morgan keeps one way of joining.
            sql, bound = _any([condition(Not(child)) for child in children])
            return f"NOT {sql}", bound


def _compare(field: str, op: str, value: Scalar) -> Sql:
    if field in _COLUMN:
        return (f"({_COLUMN[field]} {_OPERATOR[op]} ?)", [value]) if isinstance(value, str) else ("(0)", [])
    return _has(f"AND type = ? AND value {_OPERATOR[op]} ?"), [field, kind(value), value]


def _in(field: str, values: Sequence[Scalar]) -> Sql:
    if field in _COLUMN:
        texts = [value for value in values if isinstance(value, str)]
        return f"({_COLUMN[field]} IN ({_placeholders(texts)}))", [*texts]
    by_kind: dict[str, list[Scalar]] = defaultdict(list)
    for value in values:
        by_kind[kind(value)].append(value)
    return _any(
        [
            (_has(f"AND type = ? AND value IN ({_placeholders(members)})"), [field, type_, *members])
            for type_, members in by_kind.items()
        ]
    )


def _exists(field: str) -> Sql:
    return ("(1)", []) if field in _COLUMN else (_has(""), [field])


def _has(more: str) -> str:
    """`more` is one of the literals above: values are bound, never written into the text."""
    return f"(d.doc_key IN (SELECT doc_key FROM attribute WHERE name = ? {more}))"  # noqa: S608


def _placeholders(values: Sequence[Scalar]) -> str:
    return ",".join("?" * len(values))


def _any(parts: Sequence[Sql]) -> Sql:
    """Joined as a balanced tree: SQLite takes an expression 1,000 levels deep, and a chain is as deep as it is long."""
    if not parts:
        return "(0)", []
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    (left, left_bound), (right, right_bound) = _any(parts[:middle]), _any(parts[middle:])
    return f"({left} OR {right})", left_bound + right_bound

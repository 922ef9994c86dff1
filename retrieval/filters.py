"""Filters on documents: a small tree, its Mongo-style JSON form, and what it means.

    {"year": {"$gte": 2023}, "$or": [{"company": "AMZN"}, {"tags": {"$in": ["cloud", "retail"]}}]}

Meaning, the same in every store (`matches` below is the definition):

- A field is one of `doc_id source_uri title media_type`, or a metadata field.
- A list matches when one of its members does; `$ne` and `$nin` are the negations of `$eq` and `$in`, so they also
  match documents without the field.
- Values compare within their type only: text by code point, numbers by value, booleans apart from numbers. A
  comparison across types is false, never an error.
- `{"field": value}` is `$eq`; several entries of one object are all required; `{}` matches everything.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from retrieval.errors import InvalidFilter, UnknownField
from retrieval.records import DocumentInfo, Scalar

CompareOp = Literal["$eq", "$gt", "$gte", "$lt", "$lte"]
BUILTIN_FIELDS = ("doc_id", "source_uri", "title", "media_type")
MAX_DEPTH = 20
MAX_VALUES = 10_000
"""Most values in one filter; a longer list of documents belongs into their metadata."""


@dataclass(frozen=True, slots=True)
class Compare:
    """At least one value of `field` stands in relation `op` to `value`."""

    field: str
    op: CompareOp
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """At least one value of `field` equals one of `values`."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """The document has `field` (with `present=False`: has it not)."""

    field: str
    present: bool = True


@dataclass(frozen=True, slots=True)
class Not:
    """Whatever `child` does not match."""

    child: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """All of `children`; true when there are none."""

    children: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of `children`; false when there are none."""

    children: tuple["Filter", ...]


Filter = Compare | In | Exists | Not | And | Or


def parse(data: object) -> Filter:
    """Read the JSON form. Raises InvalidFilter with the path of what is wrong."""
    node = _parse_object(data, "filter", 0)
    if (count := _count_values(node)) > MAX_VALUES:
        raise InvalidFilter(f"filter: {count} values; at most {MAX_VALUES}")
    return node


def matches(node: Filter, document: DocumentInfo) -> bool:
    """Whether `document` passes; this function is the definition that every store is tested against."""
    match node:
        case Compare(field, op, value):
            return any(_compare(op, found, value) for found in values(document, field))
        case In(field, wanted):
            return any(_compare("$eq", found, value) for found in values(document, field) for value in wanted)
        case Exists(field, present):
            return present == any(True for _ in values(document, field))
        case Not(child):
            return not matches(child, document)
        case And(children):
            return all(matches(child, document) for child in children)
        case Or(children):
            return any(matches(child, document) for child in children)


def values(document: DocumentInfo, field: str) -> Iterator[Scalar]:
    """The values of a field: one, several for a list, none when the document does not have it."""
    if field in BUILTIN_FIELDS:
        yield getattr(document, field)
        return
    found = document.metadata.get(field)
    if isinstance(found, tuple | list):
        yield from found
    elif found is not None:
        yield found


def kind(value: Scalar) -> Literal["boolean", "number", "text"]:
    """The type within which values compare."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def fields(node: Filter) -> Iterator[str]:
    """Every field that the filter names, but for those under `$exists`, which asks about absence on purpose."""
    match node:
        case Compare(field, _, _) | In(field, _):
            yield field
        case Exists():
            return
        case Not(child):
            yield from fields(child)
        case And(children) | Or(children):
            for child in children:
                yield from fields(child)


def check_fields(node: Filter, known: Iterable[str]) -> None:
    """Raise UnknownField for a field that no document has: nearly always a typing error, and silence would hide it."""
    allowed = {*BUILTIN_FIELDS, *known}
    for field in fields(node):
        if field not in allowed:
            raise UnknownField(f"no document has the field {field!r}; fields here: {', '.join(sorted(allowed))}")


_COMPARE: dict[str, Callable[[Scalar, Scalar], bool]] = {
    "$eq": operator.eq,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_FIELD_OPS = (*_COMPARE, "$ne", "$in", "$nin", "$exists", "$not")
_LOGIC_OPS = ("$and", "$or", "$not")


def _compare(op: CompareOp, found: Scalar, value: Scalar) -> bool:
    return kind(found) == kind(value) and _COMPARE[op](found, value)


def _parse_object(data: object, path: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"{path}: nested more than {MAX_DEPTH} levels deep")
    if not isinstance(data, Mapping):
        raise InvalidFilter(f"{path}: expected an object like {{'year': {{'$gte': 2023}}}}, got {data!r:.100}")
    parts = [_parse_entry(key, value, path, depth) for key, value in data.items()]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_entry(key: object, value: object, path: str, depth: int) -> Filter:
    here = f"{path}.{key}"
    if not isinstance(key, str) or not key:
        raise InvalidFilter(f"{path}: a field name must be non-empty text, got {key!r}")
    _check_text(key, path)
    if key in ("$and", "$or"):
        if not isinstance(value, list | tuple) or not value:
            raise InvalidFilter(f"{here}: expected a non-empty list of filters, got {value!r:.100}")
        children = tuple(_parse_object(child, f"{here}[{i}]", depth + 1) for i, child in enumerate(value))
        return And(children) if key == "$and" else Or(children)
    if key == "$not":
        return Not(_parse_object(value, here, depth + 1))
    if key.startswith("$"):
        raise InvalidFilter(f"{here}: unknown operator {key!r}; here one of {', '.join(_LOGIC_OPS)} or a field name")
    if isinstance(value, Mapping):
        return _parse_condition(key, value, here, depth + 1)
    return Compare(key, "$eq", _scalar(value, here))


def _parse_condition(field: str, condition: Mapping[object, object], path: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"{path}: nested more than {MAX_DEPTH} levels deep")
    if not condition:
        raise InvalidFilter(f"{path}: empty condition; use one of {', '.join(_FIELD_OPS)}")
    parts = [_parse_op(field, op, value, f"{path}.{op}", depth) for op, value in condition.items()]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_op(field: str, op: object, value: object, path: str, depth: int) -> Filter:
    match op:
        case "$eq" | "$gt" | "$gte" | "$lt" | "$lte":
            return Compare(field, op, _scalar(value, path))
        case "$ne":
            return Not(Compare(field, "$eq", _scalar(value, path)))
        case "$in":
            return In(field, _scalars(value, path))
        case "$nin":
            return Not(In(field, _scalars(value, path)))
        case "$exists":
            if not isinstance(value, bool):
                raise InvalidFilter(f"{path}: expected true or false, got {value!r:.100}")
            return Exists(field, value)
        case "$not":
            if not isinstance(value, Mapping):
                raise InvalidFilter(f"{path}: expected a condition like {{'$gt': 5}}, got {value!r:.100}")
            return Not(_parse_condition(field, value, path, depth + 1))
        case _:
            raise InvalidFilter(f"{path}: unknown operator {op!r}; known: {', '.join(_FIELD_OPS)}")


def _scalar(value: object, path: str) -> Scalar:
    if not isinstance(value, str | int | float | bool):
        raise InvalidFilter(f"{path}: expected text, a number or a boolean, got {value!r:.100}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidFilter(f"{path}: {value!r} cannot be compared")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidFilter(f"{path}: {value!r:.100} does not fit into 64 bits")
    if isinstance(value, str):
        _check_text(value, path)
    return value


def _count_values(node: Filter) -> int:
    match node:
        case In(_, values):
            return len(values)
        case Not(child):
            return _count_values(child)
        case And(children) | Or(children):
            return sum(map(_count_values, children))
        case _:
            return 1


def _check_text(text: str, path: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidFilter(f"{path}: {text!r:.100} is not valid Unicode") from exc


def _scalars(value: object, path: str) -> tuple[Scalar, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidFilter(f"{path}: expected a list, got {value!r:.100}")
    return tuple(_scalar(item, f"{path}[{i}]") for i, item in enumerate(value))

"""Metadata beside a file: `NAME.metadata.json`, as Amazon Bedrock Knowledge Bases reads it from a bucket.

    {"metadataAttributes": {"year": 2023, "draft": false, "tags": ["a", "b"],
        "company": {"value": {"type": "STRING", "stringValue": "Acme"}, "includeForEmbedding": true}}}

`includeForEmbedding` is read and has no effect: metadata is for filters, and never embedded. Other keys beside
`metadataAttributes`, such as how to cut a CSV file, are left alone.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn, cast

from retrieval.errors import CorruptFile
from retrieval.records import MetadataValue

SUFFIX = ".metadata.json"

MAX_BYTES = 2**20
"""Bedrock allows 10 KB."""

_TYPED = {
    "STRING": ("stringValue", str),
    "NUMBER": ("numberValue", int | float),
    "BOOLEAN": ("booleanValue", bool),
    "STRING_LIST": ("stringListValue", list),
}
"""Type of an attribute: the member that holds its value, and what that is in Python."""


def parse(data: bytes, name: str) -> dict[str, MetadataValue]:
    """The attributes in a sidecar called `name`; empty lists are left out.

    Raises CorruptFile that names the sidecar, the attribute and what is wrong with it.
    """
    try:
        content = json.loads(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise _invalid(name, f"is no JSON ({exc})") from exc
    attributes = content.get("metadataAttributes") if isinstance(content, dict) else None
    if not isinstance(attributes, dict):
        raise _invalid(name, 'has no object "metadataAttributes"')
    values = {key: _value(key, value, name) for key, value in attributes.items()}
    return {key: value for key, value in values.items() if value != ()}


def fits(key: str, value: Any) -> bool:
    """Whether `value` can be metadata, and `key` the name of its field; for what came by another way than a file."""
    return _is_field(key) and (_is_list(value) if isinstance(value, tuple | list) else _is_scalar(value))


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _value(key: str, value: Any, name: str) -> MetadataValue:
    if not _is_field(key):
        raise _invalid(name, f"has an attribute {key!r:.100}, which cannot be the name of a field")
    if isinstance(value, dict):
        typed = value.get("value")
        kind = typed.get("type") if isinstance(typed, dict) else None
        member, of = _TYPED.get(kind, ("", object)) if isinstance(kind, str) else ("", object)
        value = typed.get(member) if isinstance(typed, dict) else None
        # In Python a boolean is a number, too.
        if not member or not isinstance(value, of) or (kind == "NUMBER" and isinstance(value, bool)):
            raise _invalid(name, f"has an attribute {key!r:.100} whose value is not of a type STRING, NUMBER, ...")
    if isinstance(value, list):
        return _list(key, value, name)
    if not _is_scalar(value):
        raise _invalid(name, f"has an attribute {key!r:.100} with the value {value!r:.100}")
    return cast("MetadataValue", value)


def _list(key: str, values: list[Any], name: str) -> MetadataValue:
    if not _is_list(values):
        raise _invalid(name, f"has an attribute {key!r:.100} with the list {values!r:.100}")
    return tuple(map(float, values)) if set(map(type, values)) == {int, float} else tuple(values)


def _is_list(values: Sequence[Any]) -> bool:
    kinds = set(map(type, values))
    return all(map(_is_scalar, values)) and bool not in kinds and (len(kinds) <= 1 or kinds == {int, float})


def _is_field(key: str) -> bool:
    return bool(key) and not key.startswith("$") and _is_text(key)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, bool):
        return True
    return isinstance(value, int | float) and math.isfinite(value) and -(2**63) <= value < 2**63


def _is_text(text: str) -> bool:
    """False for lone surrogates, which JSON can write and no store can keep."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _invalid(name: str, what: str) -> CorruptFile:
    return CorruptFile(
        f'the metadata file {name!r} {what}; write {{"metadataAttributes": {{"name": value}}}} with texts, finite '
        "numbers within 64 bits, booleans, or lists of texts or of numbers"
    )

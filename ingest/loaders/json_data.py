"""JSON and JSON Lines: values with the path of keys that leads to them, one record per line."""

import json
import re
from collections.abc import Iterator

from ingest.loaders.builder import DocumentBuilder, Origin, stem
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean, one_line
from retrieval.errors import CorruptFile
from retrieval.records import Document

VERSION = 2

LONG = 300
"""Characters from which a value is a paragraph of its own, not a cell of a record."""

MAX_DEPTH = 100
"""Levels of nesting; nothing that people read is deeper."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text = clean(decode(data))
    builder = DocumentBuilder()
    values = list(_lines(text, origin) if origin.file_type == "jsonl" else _values(text, repr(origin.name)))
    if len(values) == 1 and origin.file_type == "json":
        _add_value(builder, values[0], level=1)
    else:
        for value in values:
            _add_record(builder, value)
    return builder.build(origin, title=stem(origin.name))


def _lines(text: str, origin: Origin) -> Iterator[object]:
    """The value on each line, or, where the first spans several, values one after the other."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if lines and lines[0][1].strip() in ("{", "["):
        yield from _values(text, repr(origin.name))
        return
    for number, line in lines:
        yield from _values(line, f"{origin.name!r}, line {number},")


def _values(text: str, what: str) -> Iterator[object]:
    """The values in a text, most often one."""
    position = _BLANKS.match(text, 0).end()  # type: ignore[union-attr]  # matches anything
    while position < len(text):
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as exc:
            raise CorruptFile(
                f"{what} is not valid JSON ({exc}); repair it, or name it .txt to read it as text"
            ) from exc
        yield value
        position = _BLANKS.match(text, end).end()  # type: ignore[union-attr]


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Of a key that comes twice, both values count."""
    result: dict[str, object] = {}
    for key, value in pairs:
        result[key] = [result[key], value] if key in result else value
    return result


_BLANKS = re.compile(r"\s*")
# Numbers as they are written: 1.10 is no 1.1 to a reader, and some have more digits than Python reads.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=str)


def _add_value(builder: DocumentBuilder, value: object, *, level: int) -> None:
    """A list is a table of records; the parts of an object that have parts themselves are sections."""
    if isinstance(value, list):
        for member in value:
            _add_record(builder, member)
    elif isinstance(value, dict) and level <= 2:
        plain = {key: part for key, part in value.items() if not isinstance(part, dict | list)}
        if plain:
            _add_record(builder, plain)
        for key, part in value.items():
            if isinstance(part, dict | list) and part:
                builder.heading(str(key), level)
                _add_value(builder, part, level=level + 1)
    else:
        _add_record(builder, value)


def _add_record(builder: DocumentBuilder, value: object) -> None:
    """Short values in one line, `a.b: value; c: value`; long ones as paragraphs below it."""
    pairs = list(_flatten(value, ""))
    short = [(path, text) for path, text in pairs if len(text) <= LONG and "\n" not in text]
    builder.record("; ".join(f"{path}: {text}" if path else text for path, text in short))
    for path, text in pairs:
        if (path, text) not in short:
            builder.paragraph(f"{path}: {text}" if path else text)


def _flatten(value: object, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        raise CorruptFile(f"JSON nested more than {MAX_DEPTH} levels deep, at {path[:80]!r}; this is no document")
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flatten(part, f"{path}.{one_line(str(key))}" if path else one_line(str(key)), depth + 1)
    elif isinstance(value, list):
        if all(isinstance(part, str | int | float) for part in value):
            text = ", ".join(map(_scalar, value))
            if text:
                yield path, text
        else:
            for part in value:
                yield from _flatten(part, path, depth + 1)
    elif value is not None and _scalar(value).strip():
        yield path, _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""JSON and JSON Lines: values with the path of keys that leads to them, one record per line."""

import json
from collections.abc import Iterator

from ingest.loaders.builder import DocumentBuilder, Origin, stem
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean, one_line
from retrieval.errors import CorruptFile
from retrieval.records import Document

VERSION = 1

LONG = 300
"""Characters from which a value is a paragraph of its own, not a cell of a record."""

MAX_DEPTH = 100
"""Levels of nesting; nothing that people read is deeper."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text = clean(decode(data))
    builder = DocumentBuilder()
    if origin.file_type == "jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                _add_record(builder, _parse(line, f"{origin.name!r}, line {number},"))
    else:
        _add_value(builder, _parse(text, repr(origin.name)), level=1)
    return builder.build(origin, title=stem(origin.name))


def _parse(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise CorruptFile(f"{what} is not valid JSON ({exc}); repair it, or name it .txt to read it as text") from exc


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

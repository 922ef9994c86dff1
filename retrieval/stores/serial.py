"""Elements and ledger lines as rows and JSON, the same in every store that keeps them on disk."""

import json
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

from retrieval.records import Box, Element, SourceRecord

SOURCE_COLUMNS = tuple(field.name for field in fields(SourceRecord))
"""Of a ledger line, in the order of the record; `seconds` is kept as JSON."""


def elements_json(elements: Sequence[Element]) -> str:
    """Read back by `elements`. What most elements have not is left out."""
    return json.dumps([_element(one) for one in elements], separators=(",", ":"))


def elements(text: str) -> tuple[Element, ...]:
    """What `elements_json` was given."""
    return tuple(
        Element(kind, start, end, tuple(headings), level, *_boxes_and_html(*more))
        for kind, start, end, headings, level, *more in json.loads(text)
    )


def source_row(source: SourceRecord) -> list[Any]:
    """The values of SOURCE_COLUMNS."""
    values = list(astuple(source))
    values[-1] = json.dumps(source.seconds)
    return values


def source(row: Sequence[Any]) -> SourceRecord:
    """From the values of SOURCE_COLUMNS."""
    values = dict(zip(SOURCE_COLUMNS, row, strict=True))
    values["seconds"] = tuple((stage, taken) for stage, taken in json.loads(values["seconds"]))
    return SourceRecord(**values)


def _element(one: Element) -> list[Any]:
    more: list[Any] = [[astuple(box) for box in one.boxes], one.html] if one.boxes or one.html else []
    return [one.kind, one.start, one.end, one.headings, one.level, *more]


def _boxes_and_html(boxes: Sequence[Sequence[Any]] = (), html: str = "") -> tuple[tuple[Box, ...], str]:
    return tuple(Box(*box) for box in boxes), html

"""Jupyter notebooks: Markdown cells as Markdown, code cells as code, text output below them."""

import json
import re
from typing import Any

from ingest.loaders import html, markdown
from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.charset import decode
from retrieval.errors import CorruptFile
from retrieval.records import Document

VERSION = 2

MAX_OUTPUT = 4000
"""Characters of one output that are kept: logs of training runs are no documentation."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    try:
        notebook = json.loads(decode(data))
        cells = notebook["cells"]
        described = notebook.get("metadata") or {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise CorruptFile(f"{origin.name!r} is no Jupyter notebook of format 4; open and save it in Jupyter") from exc
    builder = DocumentBuilder()
    for cell in _objects(cells):
        source = _joined(cell.get("source"))
        if cell.get("cell_type") == "markdown":
            markdown.add_markdown(builder, source)
        else:
            builder.code(source)
            for output in _objects(cell.get("outputs")):
                _add_output(builder, output)
    metadata = {"programming_language": _language(described)}
    return builder.build(origin, title=_joined(_object(described).get("title")), metadata=metadata)


def _add_output(builder: DocumentBuilder, output: dict[str, Any]) -> None:
    """What a cell printed, as text; tables and formatted text where there is no plain form; errors in one line."""
    shown = _object(output.get("data"))
    text = _joined(output.get("text") or shown.get("text/plain"))
    if output.get("output_type") == "error":
        text = f"{_joined(output.get('ename'))}: {_joined(output.get('evalue'))}"
    if text:
        builder.code(_COLOURS.sub("", text)[:MAX_OUTPUT])
    elif "text/markdown" in shown:
        markdown.add_markdown(builder, _joined(shown["text/markdown"])[:MAX_OUTPUT])
    elif "text/html" in shown:
        html.add_fragment(builder, _joined(shown["text/html"])[:MAX_OUTPUT])


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def _joined(lines: Any) -> str:
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")


def _objects(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _language(described: Any) -> object:
    kernel, language = (_object(_object(described).get(name)) for name in ("kernelspec", "language_info"))
    return kernel.get("language") or language.get("name")

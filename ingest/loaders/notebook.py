"""Jupyter notebooks: Markdown cells as Markdown, code cells as code, text output below them."""

import json
from typing import Any

from ingest.loaders import markdown
from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.charset import decode
from retrieval.errors import CorruptFile
from retrieval.records import Document

VERSION = 1

MAX_OUTPUT = 4000
"""Characters of one output that are kept: logs of training runs are no documentation."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    try:
        notebook = json.loads(decode(data))
        cells = notebook["cells"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise CorruptFile(f"{origin.name!r} is no Jupyter notebook of format 4; open and save it in Jupyter") from exc
    builder = DocumentBuilder()
    for cell in cells:
        source = _joined(cell.get("source"))
        if cell.get("cell_type") == "markdown":
            markdown.add_markdown(builder, source)
        else:
            builder.code(source)
            for output in cell.get("outputs", ()):
                builder.code(_output(output)[:MAX_OUTPUT])
    return builder.build(origin, metadata={"programming_language": _language(notebook)})


def _joined(lines: Any) -> str:
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")


def _output(output: dict[str, Any]) -> str:
    return _joined(output.get("text") or (output.get("data") or {}).get("text/plain"))


def _language(notebook: dict[str, Any]) -> object:
    return ((notebook.get("metadata") or {}).get("kernelspec") or {}).get("language")

"""The long tail by unstructured: RTF, reStructuredText, Org.

An optional extra. Left to itself unstructured downloads a language model, detects the language of every paragraph and
reports its use over the network; here it is given a rule-based sentence splitter, told not to detect, and switched
quiet before it is imported.
"""

import io
import logging
import os
import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from ingest.loaders import front_matter, html
from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean
from retrieval.errors import CorruptFile, EncryptedFile, MissingExtra
from retrieval.records import Document

VERSION = 2

_EXTRA = "reading {} files needs: pip install 'footnote[unstructured]'"
_TEXT = frozenset({"rst", "org"})
_FILE_OF_TABLE = re.compile(r"^( *\.\. csv-table::.*(?:\n +:.*)*?)\n +:(?:file|url):.*$", re.MULTILINE)
"""Content of a table that is elsewhere: it is never fetched, and pandoc would give up the whole file for it."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`. Raises MissingExtra when unstructured is not installed."""
    fields: dict[str, object] = {}
    if origin.file_type in _TEXT:
        text, fields = front_matter.split(clean(decode(data)))
        if origin.file_type == "rst":
            text = _FILE_OF_TABLE.sub("", text)
        data = text.encode("utf-8")  # pandoc reads nothing else
    elements = _partition(data, origin)
    builder = DocumentBuilder()
    _add_elements(builder, elements)
    title = fields.pop("title", "")
    return builder.build(origin, title=title if isinstance(title, str) else "", metadata=fields)


def _partition(data: bytes, origin: Origin) -> list[Any]:
    """Unstructured's elements of a file."""
    partition = _partitioner(origin.file_type)
    options: dict[str, Any] = {"languages": [""]}  # an empty one: do not detect
    try:
        elements: list[Any] = partition(file=io.BytesIO(data), **options)
    except ImportError as exc:
        raise MissingExtra(_EXTRA.format(origin.file_type.upper())) from exc
    except Exception as exc:
        # Whatever a parser of damaged files raises; it says so in words only.
        if "encrypt" in str(exc).lower() or "password" in str(exc).lower():
            raise EncryptedFile(f"{origin.name!r} is protected; save it without a password") from exc
        reason = " ".join(f"{type(exc).__name__}: {exc}".split())[:300]
        raise CorruptFile(f"{origin.name!r} cannot be read as {origin.file_type.upper()}: {reason}") from exc
    return elements


def _partitioner(file_type: str) -> Any:
    try:
        _tame()
        return getattr(import_module(f"unstructured.partition.{file_type}"), f"partition_{file_type}")
    except ImportError as exc:
        raise MissingExtra(_EXTRA.format(file_type.upper())) from exc


@cache
def _tame() -> None:
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["SCARF_NO_ANALYTICS"] = "true"
    os.environ["UNSTRUCTURED_DISABLE_NOTICE"] = "1"
    for logger in ("unstructured", "pypandoc"):  # what they say about single files is in our errors
        logging.getLogger(logger).setLevel(logging.ERROR)
    spacy = import_module("spacy")
    pipeline = spacy.blank("xx")  # no language in particular
    pipeline.add_pipe("sentencizer")
    tokenize = import_module("unstructured.nlp.tokenize")
    vars(tokenize)["_get_nlp"] = lambda: pipeline


def _add_elements(builder: DocumentBuilder, elements: Sequence[Any]) -> None:
    page: object = None
    top = min((e.metadata.category_depth or 0 for e in elements if e.category == "ListItem"), default=0)
    for element in elements:
        metadata = element.metadata
        if metadata.page_number and metadata.page_number != page:
            page = metadata.page_number
            builder.page()
        depth = metadata.category_depth
        match element.category:
            case "Header" | "Footer" | "PageBreak" | "Image":
                continue
            case "Title" if depth is not None:
                builder.heading(element.text, min(depth + 1, 6))
            case "ListItem":
                builder.item(element.text, depth=min((depth or 0) - top, 8))
            case "Table":
                _add_table(builder, element.text, metadata.text_as_html)
            case "CodeSnippet":
                builder.code(element.text)
            case _:
                builder.paragraph(element.text)


def _add_table(builder: DocumentBuilder, text: str, markup: str | None) -> None:
    if markup:
        html.add_fragment(builder, markup)
    else:
        builder.paragraph(text)

"""Markdown: what a person reads of it, by markdown-it (CommonMark with tables, strikethrough and front matter)."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingest.loaders import front_matter, html, tabular
from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean
from retrieval.records import Document

VERSION = 2

MAX_BRACKETS = 3000
"""Links of one paragraph; the parser takes quadratic time over them, so where there are more they are plain text."""

_BLOCK = re.compile(r"(?:.+\n?)+")
_ATTRIBUTES = re.compile(r"\s*\{[#.:][^{}\n]*\}\s*$")  # "## Install {#install .wide}", as Pandoc and Kramdown write it
_MARKER = re.compile(r"\[!(?:NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]\s*")  # GitHub's alerts
_NO_IMAGE = re.compile(r"^\W*image not found\W*$", re.IGNORECASE)


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text, fields = front_matter.split(clean(decode(data)))
    builder = DocumentBuilder()
    add_markdown(builder, text)
    title = fields.pop("title", "")
    return builder.build(origin, title=title if isinstance(title, str) else "", metadata=fields)


def add_markdown(builder: DocumentBuilder, text: str) -> None:
    """Add the blocks of a Markdown text to `builder`."""
    if text.count("[") > MAX_BRACKETS:
        text = _BLOCK.sub(_tamed, text)
    _Walker(builder).walk(_PARSER.parse(text))


def _tamed(match: re.Match[str]) -> str:
    block = match[0]
    return block.replace("[", "\\[") if block.count("[") > MAX_BRACKETS else block


# Past maxNesting markdown-it drops text, so the limit is far above what people write; linkify stays off.
_PARSER = MarkdownIt("commonmark", {"maxNesting": 200}).enable(["table", "strikethrough"])


class _Walker:
    """Goes through the flat list of tokens; the only state is which lists we are in."""

    def __init__(self, builder: DocumentBuilder) -> None:
        self._builder = builder
        self._markers: list[int | None] = []
        """One per open list: the next number, None for bullets."""
        self._fresh = False
        """Whether the next paragraph is the first of its list item."""

    def walk(self, tokens: Sequence[Token]) -> None:
        stream = iter(tokens)
        for token in stream:
            match token.type:
                case "heading_open":
                    text = _ATTRIBUTES.sub("", inline_text(next(stream)))
                    self._builder.heading(text, int(token.tag[1:]))
                case "inline":
                    self._paragraph(inline_text(token))
                case "fence" | "code_block":
                    self._builder.code(token.content)
                case "html_block":
                    html.add_fragment(self._builder, token.content)
                case "table_open":
                    tabular.add_table(self._builder, _rows(stream))
                case _:
                    self._list(token)

    def _paragraph(self, text: str) -> None:
        if not self._markers:
            self._builder.paragraph(_MARKER.sub("", text))
        elif self._fresh:
            number = self._markers[-1]
            marker = "-" if number is None else f"{number}."
            self._builder.item(text, depth=len(self._markers) - 1, marker=marker)
            self._fresh = False
        else:
            self._builder.continue_item(text, depth=len(self._markers) - 1)

    def _list(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open":
                self._markers.append(None)
            case "ordered_list_open":
                self._markers.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                self._markers.pop()
            case "list_item_open":
                self._fresh = True
            case "list_item_close":
                number = self._markers[-1]
                self._markers[-1] = None if number is None else number + 1
            case _:
                pass


def _rows(stream: Iterator[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in stream:
        match token.type:
            case "tr_open":
                rows.append([])
            case "inline":
                rows[-1].append(inline_text(token))
            case "table_close":
                break
            case _:
                pass
    return rows


def inline_text(token: Token) -> str:
    """The visible text of an `inline` token: no link targets, emphasis marks or tags; images by their description."""
    parts: list[str] = []
    for child in token.children or ():
        match child.type:
            case "text" | "code_inline" | "text_special":
                parts.append(child.content)
            case "softbreak":
                parts.append(" ")
            case "hardbreak":
                parts.append("\n")
            case "image":
                description = inline_text(child)
                parts.append("" if _NO_IMAGE.match(description) else description)
            case "html_inline" if child.content.lower().startswith("<br"):
                parts.append("\n")
            case _:
                pass
    return "".join(parts)

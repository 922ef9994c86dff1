"""HTML: the content of a page without its chrome, by lxml.

The tree is walked flat, with start and end events, because pages nest deeper than Python's stack.
"""

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from lxml import etree

from ingest.loaders import html_page, tabular
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean
from ingest.loaders.tabular import Cell
from retrieval.errors import EmptyDocument
from retrieval.records import Document

VERSION = 2

_CHROME = frozenset(
    {
        *("script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "embed", "video"),
        *("audio", "nav", "footer", "aside", "dialog", "menu", "button", "select", "input", "textarea"),
        *("option", "datalist", "map", "head"),
    }
)
_CHROME_ROLES = frozenset({"navigation", "banner", "contentinfo", "complementary", "search", "dialog", "alert"})
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)

_INLINE = frozenset(
    {
        *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i"),
        *("ins", "kbd", "label", "mark", "nobr", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike"),
        *("strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "img", "picture", "source", "br"),
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]+)")


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    root = parse(decode(data, declared=declared_charset(data[:8192])))
    if root is None:
        raise EmptyDocument(f"{origin.name!r} holds no text")
    builder = DocumentBuilder()
    fields = html_page.metadata(root)
    main = html_page.main_part(root)
    add_tree(builder, main, dropped=html_page.menus(main))
    if builder.is_empty:  # all of it looked like chrome: better too much than nothing
        add_tree(builder, root, keep_chrome=True)
    return builder.build(origin, title=sensible_title(str(fields.pop("title", ""))), metadata=fields)


def parse(text: str) -> Any:
    """The root element of an HTML page or fragment, None when there is none. Never fetches anything."""
    text = clean(text)
    if not text.strip():
        return None
    root, complete = _parsed(text)
    # The parser drops all that is deeper than 2,048 elements, and what comes after it, without a word.
    return root if complete else _parsed(_NESTING.sub(" ", text))[0]


def _parsed(text: str) -> tuple[Any, bool]:
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True)
    root = etree.fromstring(text.encode("utf-8"), parser)
    return root, not any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log)


_NESTING = re.compile(r"</?(?!(?:head|title|meta|script|style|p|br|li|tr)\b)[A-Za-z][^<>]*>", re.IGNORECASE)
"""Tags that a page can be read without."""


def add_fragment(builder: DocumentBuilder, text: str) -> None:
    """Add the visible blocks of an HTML fragment, such as stands in Markdown, to `builder`."""
    root = parse(text)
    if root is not None:
        add_tree(builder, root, keep_chrome=True)


def add_tree(
    builder: DocumentBuilder, root: Any, *, keep_chrome: bool = False, dropped: frozenset[Any] = frozenset()
) -> None:
    """Add the visible blocks below `root` to `builder`, without the elements `dropped`."""
    _Walker(builder, keep_chrome=keep_chrome, dropped=dropped).walk(root)


class _Walker:
    """Gathers inline text until a block begins or ends, then gives it to the builder as what it is."""

    def __init__(self, builder: DocumentBuilder, *, keep_chrome: bool, dropped: frozenset[Any]) -> None:
        self._builder = builder
        self._keep_chrome = keep_chrome
        self._dropped = dropped
        self._text: list[str] = []
        self._lists: list[int | None] = []
        """One per open list: the next number, None for bullets."""
        self._fresh = False
        self._heading = 0
        self._skipped: Any = None

    def walk(self, root: Any) -> None:
        events = etree.iterwalk(root, events=("start", "end"))
        for event, node in events:
            if event == "start":
                if self._start(node):
                    events.skip_subtree()
                    self._skipped = node
                continue
            if node is not self._skipped:
                self._end(node)
            self._skipped = None
            if node is not root and node.tail:
                self._text.append(_flow(node.tail))
        self._flush()

    def _start(self, node: Any) -> bool:
        """Begin a node; True when all below it is dealt with."""
        if self._is_dropped(node):
            return True
        if node.tag in _INLINE:
            self._inline(node)
            return False
        self._flush()
        if self._whole(node):
            return True
        if node.tag in _HEADINGS:
            self._heading = _HEADINGS[node.tag]
        elif node.tag in ("ul", "ol", "dl"):
            self._lists.append(_first_number(node) if node.tag == "ol" else None)
        elif node.tag in ("li", "dt"):
            self._fresh = True
        if node.text:
            self._text.append(_flow(node.text))
        return False

    def _is_dropped(self, node: Any) -> bool:
        if not isinstance(node.tag, str) or _is_hidden(node) or node in self._dropped:
            return True
        return node.tag in _ALWAYS_DROPPED if self._keep_chrome else _is_chrome(node)

    def _whole(self, node: Any) -> bool:
        """Deal with a node that is taken as one; False when it is not such a node."""
        if node.tag == "pre":
            self._builder.code("".join(node.itertext()))
        elif node.tag == "header" and not self._keep_chrome:  # of all that it may hold, the title is wanted
            for heading in node.iterdescendants(*_HEADINGS):
                self._builder.heading(_visible(heading), _HEADINGS[heading.tag])
        elif node.tag == "table" and _is_data_table(node):
            for caption in node.iterfind("caption"):
                self._builder.paragraph(_visible(caption))
            rows = list(node.iter("tr"))
            header_rows = sum(1 for _ in takewhile(_is_header, rows))
            tabular.add_table(self._builder, (list(map(_cell, _cells(row))) for row in rows), header_rows=header_rows)
        elif node.tag == "tr" and _is_data_row(node):  # in a table that is laid out otherwise, such as an infobox
            self._builder.record(" | ".join(filter(None, map(_visible, _cells(node)))))
        else:
            return False
        return True

    def _inline(self, node: Any) -> None:
        if node.tag == "br":
            self._text.append("\n")
        elif node.tag == "img":
            description = _flow(node.get("alt") or "")
            if not _FILE_NAME.search(description):
                self._text.append(description)
        if node.text:
            self._text.append(_flow(node.text))

    def _end(self, node: Any) -> None:
        tag = node.tag
        if tag in _INLINE:
            return
        self._flush()
        if tag in _HEADINGS:
            self._heading = 0
        elif tag in ("ul", "ol", "dl") and self._lists:
            self._lists.pop()
        elif tag == "li" and self._lists and self._lists[-1] is not None:
            self._lists[-1] += 1

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text = []
        if not text.strip():
            return
        if self._heading:
            self._builder.heading(text, self._heading)
        elif not self._lists:
            for part in _BLANK_LINE.split(text):  # two <br> make a paragraph
                self._builder.paragraph(part)
        elif self._fresh:
            number = self._lists[-1]
            self._builder.item(text, depth=len(self._lists) - 1, marker="-" if number is None else f"{number}.")
            self._fresh = False
        else:
            self._builder.continue_item(text, depth=len(self._lists) - 1)


_ALWAYS_DROPPED = frozenset({"script", "style", "noscript", "template", "svg", "head", "iframe"})


def _is_chrome(node: Any) -> bool:
    if node.get("role") in _CHROME_ROLES:
        return True
    return node.tag in _CHROME


def _is_hidden(node: Any) -> bool:
    style = node.get("style")
    if node.get("hidden") is not None or (style and _HIDDEN_STYLE.search(style)):
        return True
    # Icons, and the second form of formulas; whole pages are marked so while a dialog is open.
    return node.tag in _INLINE and node.get("aria-hidden") == "true"


MAX_CELL = 1500
"""Characters; a cell that holds more is part of a page's layout."""

MAX_ROW_CELL = 300
"""The same for a row of a table that lays out a page."""


def _is_data_table(table: Any) -> bool:
    # A table of one column, or with sections or tables in its cells, lays out a page: its cells hold blocks.
    if next(table.iterdescendants("table", "h1", "h2", "h3", "pre"), None) is not None:
        return False
    rows = [_cells(row) for row in table.iter("tr")]
    longest = max((len("".join(cell.itertext())) for row in rows for cell in row), default=0)
    return max(map(len, rows), default=0) > 1 and longest <= MAX_CELL


def _is_data_row(row: Any) -> bool:
    cells = [cell for cell in _cells(row) if "".join(cell.itertext()).strip()]
    if len(cells) < 2 or next(row.iterdescendants("table", "h1", "h2", "h3", "pre", "p"), None) is not None:
        return False
    return all(len("".join(cell.itertext())) <= MAX_ROW_CELL for cell in cells)


def _cells(row: Any) -> list[Any]:
    return [cell for cell in row if cell.tag in ("td", "th")]


def _is_header(row: Any) -> bool:
    cells = _cells(row)
    return row.getparent().tag == "thead" or (bool(cells) and all(cell.tag == "th" for cell in cells))


def _cell(node: Any) -> str | Cell:
    return Cell(_visible(node), _span(node, "colspan"), _span(node, "rowspan")) if node.attrib else _visible(node)


def _span(cell: Any, name: str) -> int:
    value = (cell.get(name) or "1").strip()
    return max(int(value), 1) if value.isascii() and value.isdigit() and len(value) < 4 else 1


def _visible(cell: Any) -> str:
    if not len(cell):
        return _flow(cell.text or "").strip(" ;")
    return _flow("".join(_cell_parts(cell))).strip(" ;")


def _cell_parts(cell: Any) -> Iterator[str]:
    events = etree.iterwalk(cell, events=("start", "end"))
    for event, node in events:
        if event == "end":
            if node.tag not in _INLINE:
                yield "; " if node.tag == "li" else " "
            if node is not cell and node.tail:
                yield node.tail
        elif not isinstance(node.tag, str) or node.tag in _ALWAYS_DROPPED or _is_hidden(node):
            events.skip_subtree()
        else:
            if node.tag == "br" or node.tag not in _INLINE:
                yield " "
            yield node.text or ""


_WHITE = re.compile(r"\s+")
_FILE_NAME = re.compile(r"\.[A-Za-z]{3,4}\s*$")
_BLANK_LINE = re.compile(r"\n\s*\n")


def _flow(text: str) -> str:
    """Source line breaks are blanks in HTML; only <br> breaks a line."""
    return _WHITE.sub(" ", text)


def _first_number(node: Any) -> int:
    start = node.get("start") or "1"
    return int(start) if start.isascii() and start.isdigit() and len(start) < 10 else 1


def declared_charset(head: bytes) -> str:
    """The encoding that the beginning of a page names; empty when it names none."""
    match = _XML_ENCODING.search(head) or _CHARSET.search(head)
    return match[1].decode("ascii") if match else ""

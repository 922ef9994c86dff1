"""What of an HTML page is its content: the main part, the menus around it, and what its head says of it.

Pages that mark their parts (main, nav, aside) are believed. In others a block is taken for a menu by its name, or by
being links for the most part and standing before the first or after the last running text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree

MENU_LINKS = 3
"""Links from which a block can be a menu."""

MENU_SHARE = 0.75
"""Of the letters of a menu, those within links."""

NAMED_MENU_SHARE = 0.4
"""The same for a block that calls itself one."""

PROSE = 80
"""Characters outside of links, in one element, from which it is running text."""

ENOUGH_PROSE = 400
"""Characters of running text from which a page is no list of links itself."""

NOTICE = 1500
"""Characters up to which a block that calls itself a notice, such as of cookies, is one."""

LEAST = 200
"""Characters; where less would remain, nothing is left out."""

_BLOCKS = frozenset({"div", "ul", "ol", "dl", "p", "table", "section", "form", "center", "td", "tr", "span", "details"})
_HEADINGS = frozenset({"h2", "h3", "h4", "h5", "h6"})

_MENU_NAMES = frozenset(
    {
        *("nav", "navbar", "navigation", "navbox", "menu", "menubar", "sidebar", "breadcrumb", "breadcrumbs", "footer"),
        *("toc", "pagination", "pager", "paginator", "related", "recommended", "tags", "tagcloud", "topbar", "toolbar"),
        *("share", "sharing", "social", "catlinks", "sitemap", "skip", "skiplink", "submenu", "dropdown"),
    }
)
_NOTICE_NAMES = frozenset(
    {
        *(
            "cookie",
            "cookies",
            "consent",
            "gdpr",
            "ccpa",
            "newsletter",
            "subscribe",
            "subscription",
            "advert",
            "advertisement",
        ),
        *("ads", "adsbygoogle", "sponsor", "sponsored", "promo", "popup", "paywall", "onetrust", "share", "sharing"),
    }
)
_HIDDEN_NAMES = frozenset({"sr-only", "visually-hidden", "visuallyhidden", "screen-reader-text", "noprint", "d-none"})
_TOKENS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_MORE = re.compile(
    r"\b(?:related|recommended|popular|trending|more from|read next|you may|also like|recent|latest|tags|categories"
    r"|archives|share|follow us|navigation|menu)\b",
    re.IGNORECASE,
)
"""In headings of lists that lead away."""

_META = {
    "author": "author",
    "article:author": "author",
    "dc.creator": "author",
    "dcterms.creator": "author",
    "description": "description",
    "og:description": "description",
    "dc.description": "description",
    "keywords": "keywords",
    "date": "date",
    "article:published_time": "date",
    "dc.date": "date",
    "dcterms.date": "date",
    "article:modified_time": "modified",
    "dcterms.modified": "modified",
    "last-modified": "modified",
    "og:site_name": "site",
    "content-language": "language",
    "dc.language": "language",
    "og:title": "title",
}
"""Name or property of a `meta` element, in lower case: our name of the field. The first that is found wins."""


def main_part(root: Any) -> Any:
    """The one `main` or `article` element where it holds a fair part of the page, else the page."""
    for path in ("//main | //*[@role='main']", "//article"):
        found = root.xpath(path)
        if len(found) == 1:
            share, whole = (len(" ".join(node.itertext()).split()) for node in (found[0], root))
            if share * 5 > whole:
                return found[0]
    return root


def menus(root: Any) -> frozenset[Any]:
    """The elements below `root` that are menus and notices; none where next to nothing would remain."""
    measured = _measured(root)
    found = set(_named(root, measured))
    if root.tag not in ("main", "article"):
        found |= set(_around(root, measured, found))
    left = measured[root].text - sum(measured[node].text for node in found)
    return frozenset(found) if left >= min(LEAST, measured[root].text) else frozenset()


def metadata(root: Any) -> dict[str, object]:
    """What the head says: title, author, description, keywords, dates, language, site and canonical address."""
    fields: dict[str, object] = {}
    language = root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or root.get("xml:lang")
    if language:
        fields["language"] = language
    title = " ".join(root.xpath("//head//title[1]//text()")).strip()
    if title:
        fields["title"] = title
    for meta in root.iter("meta"):
        name = meta.get("name") or meta.get("property") or meta.get("http-equiv") or ""
        key, content = _META.get(name.strip().lower()), (meta.get("content") or "").strip()
        if key and content and key not in fields:
            fields[key] = content
    for link in root.iter("link"):
        if (link.get("rel") or "").lower() == "canonical" and link.get("href", "").startswith("http"):
            fields.setdefault("canonical_url", link.get("href"))
    return fields


@dataclass(slots=True)
class _Measure:
    text: int = 0
    """Characters below an element that are no white space."""
    linked: int = 0
    """Those within links."""
    links: int = 0
    own: int = 0
    """Those of the element itself and what is inline in it, outside of links."""


_NOTHING = _Measure()


def _measured(root: Any) -> dict[Any, _Measure]:
    """The measure of each element, from the leaves up. The keys keep the elements alive, so that they stay the same."""
    result: dict[Any, _Measure] = {}
    for _, node in etree.iterwalk(root, events=("end",)):
        if not isinstance(node.tag, str) or node.tag in ("script", "style", "noscript", "template", "svg"):
            result[node] = _Measure()
            continue
        own = _letters(node.text)
        measure = _Measure(own, 0, 0, own)
        for child in node:
            part, tail = result.get(child, _NOTHING), _letters(child.tail)
            measure.text += part.text + tail
            measure.linked += part.linked
            measure.links += part.links
            measure.own += tail + (part.own if child.tag in _INLINE else 0)
        if node.tag == "a" and node.get("href") is not None:
            measure = _Measure(measure.text, measure.text, 1, 0)
        result[node] = measure
    return result


_INLINE = frozenset({"b", "strong", "em", "i", "span", "font", "code", "abbr", "cite", "small", "u", "q", "sup", "sub"})


def _letters(text: str | None) -> int:
    return len("".join(text.split())) if text else 0


def _named(root: Any, measured: dict[Any, _Measure]) -> Iterator[Any]:
    """Blocks whose class or id says what they are, the outermost of each."""
    whole = measured[root].text
    events = etree.iterwalk(root, events=("start",))
    for _, node in events:
        if node is root or node.tag not in _BLOCKS:
            continue
        names = f"{node.get('class') or ''} {node.get('id') or ''}"
        if not names.strip():
            continue
        measure = measured[node]
        words = {word.lower() for word in _TOKENS.findall(names)}
        menu = words & _MENU_NAMES and measure.links >= 1 and measure.linked >= measure.text * NAMED_MENU_SHARE
        notice = words & _NOTICE_NAMES and measure.text <= NOTICE
        if not _HIDDEN_NAMES.isdisjoint(names.split()) or ((menu or notice) and measure.text * 2 <= whole):
            events.skip_subtree()
            yield node


def _around(root: Any, measured: dict[Any, _Measure], found: set[Any]) -> Iterator[Any]:
    """Blocks of links before the first running text and after the last, on pages that have enough of it.

    A list that follows the last text directly, or has a heading of its own, is content.
    """
    blocks: list[tuple[int, Any, str]] = []
    prose: list[tuple[int, Any]] = []
    heading = ""
    events = etree.iterwalk(root, events=("start",))
    for position, (_, node) in enumerate(events):
        measure = measured[node]
        if node in found:
            events.skip_subtree()
        elif measure.own >= PROSE or node.tag in ("pre", "h1"):
            prose.append((position, node))
            heading = ""
        elif node.tag in _HEADINGS:
            heading = "".join(node.itertext())
        elif node.tag in _BLOCKS and measure.links >= MENU_LINKS and measure.linked >= measure.text * MENU_SHARE:
            events.skip_subtree()
            blocks.append((position, node, heading))
    if sum(measured[node].own for _, node in prose) < ENOUGH_PROSE:
        return
    (first, _), (last, ending) = prose[0], prose[-1]
    for position, node, above in blocks:
        announced = (above and not _MORE.search(above)) or node.getparent() is ending.getparent()
        if position < first or (position > last and not announced):
            yield node

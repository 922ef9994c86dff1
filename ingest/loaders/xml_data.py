"""XML that is no HTML: leaf elements as `name: text`, siblings on one line; mixed content as paragraphs."""

from collections.abc import Iterator
from typing import Any

from lxml import etree

from ingest.loaders import html
from ingest.loaders.builder import DocumentBuilder, Origin, stem
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean, one_line
from retrieval.errors import CorruptFile
from retrieval.records import Document

VERSION = 2

LONG = 300
"""Characters from which the text of a leaf is a paragraph of its own."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    root = _parse(data, origin)
    builder = DocumentBuilder()
    events = etree.iterwalk(root, events=("start",))
    for _, node in events:
        if _is_mixed(node):
            builder.paragraph(one_line("".join(node.itertext())))
            events.skip_subtree()
        elif len(node):
            _add_leaves(builder, node)
    if not len(root):
        builder.paragraph(root.text or "")
    return builder.build(origin, title=_title(root) or stem(origin.name))


def _parse(data: bytes, origin: Origin) -> Any:
    # Entities stay unexpanded and nothing is fetched: a document of a kilobyte must not become gigabytes.
    options = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
    options |= {"remove_comments": True, "remove_pis": True}
    try:
        return etree.fromstring(data, etree.XMLParser(**options))
    except etree.XMLSyntaxError as exc:
        try:  # the declaration may name another encoding than the bytes are in
            text = clean(decode(data))
            body = text[text.find("?>") + 2 :] if text.lstrip().startswith("<?xml") else text
            return etree.fromstring(body.encode("utf-8"), etree.XMLParser(encoding="utf-8", **options))
        except etree.XMLSyntaxError:
            raise CorruptFile(
                f"{origin.name!r} is not well-formed XML, or deeper or larger in one part than is read ({exc}); "
                "repair it, or name it .txt to read it as text"
            ) from exc


def _add_leaves(builder: DocumentBuilder, parent: Any) -> None:
    """The leaves among the children of `parent`: short ones as one record, long ones as paragraphs below it."""
    leaves = list(_leaves(parent))
    builder.record("; ".join(f"{name}: {text}" for name, text in leaves if len(text) <= LONG))
    for name, text in leaves:
        if len(text) > LONG and "</" in text:  # feeds carry articles as HTML in a text
            html.add_fragment(builder, text)
        elif len(text) > LONG:
            builder.paragraph(f"{name}: {text}")


def _leaves(parent: Any) -> Iterator[tuple[str, str]]:
    for key, value in parent.attrib.items():
        if value.strip() and not key.startswith("{"):
            yield key, one_line(value)
    for child in parent:
        if isinstance(child.tag, str) and not len(child):
            text = one_line(child.text or "")
            name = _name(child)
            if text:
                yield name, text
            for key, value in child.attrib.items():
                if value.strip() and not key.startswith("{"):
                    yield f"{name}.{key}", one_line(value)


def _is_mixed(node: Any) -> bool:
    """Whether text and elements stand side by side, as in an article."""
    return len(node) > 0 and (_shows(node.text) or any(_shows(child.tail) for child in node))


def _shows(text: str | None) -> bool:
    return bool(text and not text.isspace())


def _name(node: Any) -> str:
    return str(etree.QName(node).localname)


def _title(root: Any) -> str:
    for path in ("title", "head/title", "channel/title", "{*}title", "{*}channel/{*}title"):
        found = root.findtext(path)
        if found and found.strip():
            return one_line(found)
    return ""

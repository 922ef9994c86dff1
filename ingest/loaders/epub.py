"""EPUB: the pages of a book in reading order, each read as HTML; no page of contents, no fonts, no pictures."""

import io
import posixpath
import zipfile
from typing import Any
from urllib.parse import unquote

from lxml import etree

from ingest.loaders import html, zip_guard
from ingest.loaders.builder import DocumentBuilder, Origin, sensible_title
from ingest.loaders.charset import decode
from retrieval.errors import CorruptFile, EncryptedFile
from retrieval.records import Document

VERSION = 1

_META = {
    "title": "title",
    "creator": "author",
    "language": "language",
    "publisher": "publisher",
    "date": "date",
    "description": "description",
    "subject": "keywords",
    "rights": "rights",
}
"""Element of the package's metadata: our name."""

_PAGES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"})


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`. Raises EncryptedFile for books under rights management."""
    zip_guard.check(data, origin.name, doctype=True)
    builder = DocumentBuilder()
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        path = _package_path(package, origin.name)
        root = zip_guard.xml_part(package, path, required_by=origin.name)
        encrypted = _encrypted(package)
        names = set(package.namelist())
        for page in _pages(root, posixpath.dirname(path)):
            if page in encrypted:
                raise EncryptedFile(f"{origin.name!r} is protected by digital rights management; get a copy without it")
            if page in names:
                tree = html.parse(decode(package.read(page), declared=html.declared_charset(package.read(page)[:1024])))
                if tree is not None:
                    html.add_tree(builder, tree, keep_chrome=True)
    fields = _metadata(root)
    return builder.build(origin, title=sensible_title(str(fields.pop("title", ""))), metadata=fields)


def _package_path(package: zipfile.ZipFile, name: str) -> str:
    container = zip_guard.xml_part(package, "META-INF/container.xml")
    paths = [node.get("full-path") for node in _named(container, "rootfile")] if container is not None else []
    paths += [name for name in package.namelist() if name.endswith(".opf")]
    if not paths or not paths[0]:
        raise CorruptFile(f"{name!r} does not say where its pages are (no package document); get a fresh copy")
    return str(paths[0])


def _pages(root: Any, folder: str) -> list[str]:
    """Names of the parts in reading order, without the page of contents where the book says which that is."""
    items = {node.get("id"): node for node in _named(root, "item")}
    spine = [items[node.get("idref")] for node in _named(root, "itemref") if node.get("idref") in items]
    chosen = [node for node in spine or items.values() if node.get("media-type") in _PAGES]
    without_contents = [node for node in chosen if "nav" not in (node.get("properties") or "").split()]
    return [
        posixpath.normpath(posixpath.join(folder, unquote((node.get("href") or "").partition("#")[0])))
        for node in without_contents or chosen
    ]


def _encrypted(package: zipfile.ZipFile) -> set[str]:
    """Names of parts that cannot be read; fonts are often scrambled, which is no matter."""
    root = zip_guard.xml_part(package, "META-INF/encryption.xml")
    return set() if root is None else {unquote(node.get("URI") or "") for node in _named(root, "CipherReference")}


def _metadata(root: Any) -> dict[str, object]:
    fields: dict[str, object] = {}
    lists: dict[str, list[str]] = {"author": [], "keywords": []}
    for block in _named(root, "metadata"):
        for node in block.iter(etree.Element):
            key = _META.get(etree.QName(node).localname)
            text = (node.text or "").strip()
            if key in lists and text:
                lists[key].append(text)
            elif key and text and key not in fields:
                fields[key] = text
    return fields | {key: values for key, values in lists.items() if values}


def _named(root: Any, name: str) -> list[Any]:
    """Elements of this name in any namespace: books of old use several."""
    return list(root.iter(f"{{*}}{name}"))

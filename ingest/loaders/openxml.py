"""What DOCX, PPTX and XLSX have in common: core properties, and opening a package that may be damaged."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

from lxml import etree

from ingest.loaders import zip_guard
from ingest.loaders.builder import Origin
from ingest.loaders.cleaning import one_line
from retrieval.errors import CorruptFile

_PROPERTIES = {
    "title": "title",
    "creator": "author",
    "subject": "subject",
    "keywords": "keywords",
    "category": "category",
    "created": "created",
    "modified": "modified",
    "language": "language",
}
"""Element of docProps/core.xml: our name."""


def open_package(opener: Callable[[io.BytesIO], Any], data: bytes, origin: Origin) -> Any:
    """The opened package. Raises CorruptFile, EncryptedFile."""
    zip_guard.check(data, origin.name)
    try:
        return opener(io.BytesIO(data))
    except (KeyError, ValueError, zipfile.BadZipFile) as exc:
        reason = one_line(str(exc))
        raise CorruptFile(f"{origin.name!r} lacks parts that the format requires ({reason}); get a fresh copy") from exc


def core_properties(data: bytes) -> dict[str, str]:
    """Title, author, subject and dates, as far as the file tells them; dates to the second, without zone.

    Read from the package itself, since the libraries make up an author and the present time for what is missing.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            root = etree.fromstring(package.read("docProps/core.xml"), etree.XMLParser(resolve_entities=False))
    except (KeyError, zipfile.BadZipFile, etree.XMLSyntaxError):
        return {}
    fields: dict[str, str] = {}
    for node in root.iterchildren(etree.Element):
        name = _PROPERTIES.get(etree.QName(node).localname)
        text = one_line(node.text or "")
        if name and text:
            fields[name] = text[:19] if name in ("created", "modified") else text
    return fields

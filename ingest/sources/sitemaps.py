"""Sitemaps (sitemaps.org): lists of the pages of a site, or of further such lists."""

import gzip
import io
import re
import zlib
from dataclasses import dataclass

from lxml import etree

from retrieval.errors import CorruptFile, LimitExceeded

MAX_URLS = 50_000
"""Of one sitemap by its specification, and of one site here."""

MAX_BYTES = 50 * 2**20
"""Of one sitemap by its specification, uncompressed."""

_NAME = re.compile(r"[^/]*sitemap[^/]*\.xml(?:\.gz)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sitemap:
    """What one lists, in its order."""

    pages: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()


def is_sitemap(path: str) -> bool:
    """Whether a URL of this path is taken for one: `sitemap.xml`, `wp-sitemap-posts.xml`, `sitemap_index.xml.gz`."""
    return bool(_NAME.fullmatch(path.rpartition("/")[2]))


def parse(data: bytes, name: str) -> Sitemap:
    """The addresses in a sitemap, unchecked. Raises CorruptFile, LimitExceeded for more than one may have."""
    if data.startswith(b"\x1f\x8b"):
        data = _gunzipped(data, name)
    found: dict[str, list[str]] = {"url": [], "sitemap": []}
    try:
        # Entities stay as they are: those of XML itself are enough for an address, others make bombs.
        events = etree.iterparse(io.BytesIO(data), resolve_entities=False, no_network=True, load_dtd=False)
        for _, element in events:
            kind = etree.QName(element).localname if isinstance(element.tag, str) else ""
            if kind not in found:
                continue
            address = next((child.text for child in element if _is_location(child)), None)
            if address and address.strip():
                found[kind].append(address.strip())
            if sum(map(len, found.values())) > MAX_URLS:
                raise LimitExceeded(f"{name!r} lists more than {MAX_URLS:,} addresses; name its parts instead")
            element.clear()
    except etree.XMLSyntaxError as exc:
        raise CorruptFile(f"{name!r} is no sitemap: {exc}") from exc
    return Sitemap(tuple(found["url"]), tuple(found["sitemap"]))


def _is_location(element: etree._Element) -> bool:
    return isinstance(element.tag, str) and etree.QName(element).localname == "loc"


def _gunzipped(data: bytes, name: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            unpacked = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise CorruptFile(f"{name!r} is damaged: {exc}") from exc
    if len(unpacked) > MAX_BYTES:
        raise LimitExceeded(f"{name!r} has more than {MAX_BYTES:,} bytes when unpacked; name its parts instead")
    return unpacked

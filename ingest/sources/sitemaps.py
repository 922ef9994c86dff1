"""Sitemaps (sitemaps.org): lists of the pages of a site, or of further such lists."""

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from xml.parsers import expat

from retrieval.errors import CorruptFile, LimitExceeded

MAX_URLS = 50_000
"""Of one sitemap by its specification, and of one site here."""

MAX_BYTES = 50 * 2**20
"""Of one sitemap by its specification, uncompressed."""

_MAX_DEPTH = 32
"""Elements within one another; a sitemap has three, with pictures some more."""

_SITEMAP = re.compile(r"[^/]*sitemap[^/]*\.xml(?:\.gz)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sitemap:
    """What one lists, in its order."""

    pages: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()


def is_sitemap(path: str) -> bool:
    """Whether a URL of this path is taken for one: `sitemap.xml`, `wp-sitemap-posts.xml`, `sitemap_index.xml.gz`."""
    return bool(_SITEMAP.fullmatch(path.rpartition("/")[2]))


def parse(data: bytes, name: str) -> Sitemap:
    """The addresses in a sitemap, unchecked. Raises CorruptFile, LimitExceeded for more than one may have."""
    if data.startswith(b"\x1f\x8b"):
        data = _gunzipped(data, name)
    reader = _Reader(name)
    try:
        reader.read(data)
    except (expat.ExpatError, LookupError, ValueError) as exc:  # also for an encoding that nobody knows
        raise CorruptFile(f"{name!r} is no sitemap: {exc}") from exc
    return Sitemap(tuple(reader.found["url"]), tuple(reader.found["sitemap"]))


class _Reader:
    """Reads XML as it comes and keeps no tree of it, which would take many times the bytes of its text."""

    def __init__(self, name: str) -> None:
        self.found: dict[str, list[str]] = {"url": [], "sitemap": []}
        self._name = name
        self._path: list[str] = []
        """Open elements, without their namespaces."""
        self._text: list[str] = []
        """Of the address that is being read."""

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(data, True)

    def _doctype(self, *_: object) -> None:
        raise CorruptFile(f"{self._name!r} declares a document type, as no sitemap does")  # and as entity bombs do

    def _start(self, name: str, _: object) -> None:
        if len(self._path) >= _MAX_DEPTH:
            raise CorruptFile(f"{self._name!r} is no sitemap: elements lie {_MAX_DEPTH} deep in one another")
        self._path.append(name.rpartition(":")[2])
        self._text.clear()

    def _characters(self, text: str) -> None:
        if self._path[-1] == "loc":
            self._text.append(text)

    def _end(self, _: object) -> None:
        kept = self.found.get(self._path[-2]) if self._path[-1:] == ["loc"] and len(self._path) > 1 else None
        address = "".join(self._text).strip()
        if kept is not None and address:
            kept.append(address)
            if len(kept) > MAX_URLS:
                raise LimitExceeded(f"{self._name!r} lists more than {MAX_URLS:,} addresses; name its parts instead")
        self._path.pop()
        self._text.clear()


def _gunzipped(data: bytes, name: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            unpacked = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise CorruptFile(f"{name!r} is damaged: {exc}") from exc
    if len(unpacked) > MAX_BYTES:
        raise LimitExceeded(f"{name!r} has more than {MAX_BYTES:,} bytes when unpacked; name its parts instead")
    return unpacked

"""Guards for formats that are ZIP archives of XML, before any parser unpacks them.

A bomb is refused by what the archive declares, and, because a declaration can lie, by what really comes out.
"""

import io
import zipfile
import zlib
from typing import Any

from lxml import etree

from retrieval.errors import CorruptFile, EncryptedFile

MAX_UNPACKED = 512 * 2**20
"""Bytes that all parts of an archive may have together."""

MAX_RATIO = 250
"""Unpacked to packed size; XML of spreadsheets reaches 100. Not asked of parts below `RATIO_FROM`."""

RATIO_FROM = 8 * 2**20

MAX_PARTS = 20_000

_STEP = 2**20

_HEAD = 4096


def check(data: bytes, name: str, *, doctype: bool = False) -> None:
    """Unpack everything once and count, keeping nothing. Raises CorruptFile, EncryptedFile.

    A part with a document type is refused unless `doctype`: Office formats have none, entity bombs need one.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS:
                raise CorruptFile(f"{name!r} has {len(parts):,} parts, the limit is {MAX_PARTS:,}; it is no document")
            if any(part.flag_bits & 1 for part in parts):
                raise EncryptedFile(f"{name!r} is protected by a password; save it without one")
            _refuse(sum(part.file_size for part in parts), name)
            total = 0
            for part in parts:
                total = _count(archive, part, total, name, doctype=doctype)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as exc:
        raise CorruptFile(f"{name!r} is a damaged ZIP container: {exc}; get a fresh copy") from exc


def xml_part(archive: zipfile.ZipFile, part: str, *, required_by: str = "") -> Any:
    """The root of an XML part of an archive that was checked, None where it has no such part or the part is broken.

    Entities stay unexpanded and nothing is fetched. For a part that the file `required_by` cannot be read without,
    raises CorruptFile.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        return etree.fromstring(archive.read(part), parser)
    except (KeyError, etree.XMLSyntaxError, ValueError) as exc:
        if required_by:
            raise CorruptFile(
                f"{required_by!r}: its part {part!r} is missing or damaged ({exc}); get a fresh copy"
            ) from exc
        return None


def _count(archive: zipfile.ZipFile, part: zipfile.ZipInfo, total: int, name: str, *, doctype: bool) -> int:
    size = 0
    doctype = doctype or not part.filename.endswith((".xml", ".rels"))  # settings of printers have one
    with archive.open(part) as stream:
        while block := stream.read(_STEP):
            if not (size or doctype) and b"<!DOCTYPE" in block[:_HEAD]:
                raise CorruptFile(f"{name!r} declares a document type in {part.filename!r}, as no Office program does")
            size += len(block)
            _refuse(total + size, name)
            if size > RATIO_FROM and size > MAX_RATIO * max(part.compress_size, 1):
                raise CorruptFile(f"{name!r} unpacks to more than {MAX_RATIO} times its size; it looks like a ZIP bomb")
    return total + size


def _refuse(total: int, name: str) -> None:
    if total > MAX_UNPACKED:
        raise CorruptFile(f"{name!r} unpacks to more than {MAX_UNPACKED:,} bytes; it looks like a ZIP bomb")

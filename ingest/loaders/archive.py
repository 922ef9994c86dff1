"""Archives and single compressed files: not documents, but what holds some. A sync unpacks them."""

from typing import Never

from ingest.loaders.builder import Origin
from retrieval.errors import UnsupportedMedia

VERSION = 1

MEDIA_TYPES = {
    "zip": "application/zip",
    "tar": "application/x-tar",
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
}
"""By kind, as `kind` names it."""

_MAGIC = ((b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
_TAR_MAGIC_AT = 257


def kind(data: bytes) -> str:
    """Which archive `data` is, a key of `MEDIA_TYPES`; empty if it is none. A compressed tar is what compresses it."""
    if data[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return "tar"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), "")


def load(data: bytes, origin: Origin) -> Never:
    """Raises UnsupportedMedia: an archive gives as many documents as it has members, not one."""
    raise UnsupportedMedia(
        f"{origin.name!r} is an archive ({kind(data)}), no document; ingest it as a source, and what is in it is "
        "read, or unpack it"
    )

"""What a source is known by: its URI, and the id and hash that follow from it and from its bytes."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from retrieval.errors import SourceNotFound

WITHIN = "!/"
"""Between the URI of an archive or message and the name of what it holds."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)  # two letters at least: "C://" is a drive

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of writing: `gnp.exe` can be made to look like `exe.png`."""


def content_hash(data: bytes) -> str:
    """SHA-256 of `data`, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def doc_id_for(uri: str) -> str:
    """The id of the document at `uri`: the first 16 hex digits of the SHA-256 of the URI."""
    return hashlib.sha256(uri.encode("utf-8")).hexdigest()[:16]


def uri_for(path: str | Path) -> str:
    """`file://` URI of a path, made absolute but with links left as they are; works for any bytes in a name."""
    return "file://" + quote_from_bytes(os.fsencode(absolute(path)), safe="/")


def path_for(uri: str) -> Path:
    """The path of a `file://` URI. Raises SourceNotFound for one of another machine."""
    host, slash, path = uri.partition("://")[2].partition("/")
    if host not in ("", "localhost") or not slash:
        raise SourceNotFound(f"{uri!r} names no file of this machine; write file:///path, with three slashes")
    return absolute(Path(os.fsdecode(unquote_to_bytes("/" + path))))


def member_uri(parent: str, name: bytes | str, number: int = 1) -> str:
    """URI of what lies within another source. `number` tells members of the same name apart."""
    quoted = quote_from_bytes(name, safe="/") if isinstance(name, bytes) else quote(name, safe="/")
    return f"{parent}{WITHIN}{quoted}" + (f"#{number}" if number > 1 else "")


def scheme_of(argument: str) -> str:
    """'s3' for 's3://bucket/key', in lower case; empty for a path."""
    match = _SCHEME.match(argument)
    return match[1].lower() if match else ""


def without_login(uri: str) -> str:
    """`uri` fit for a message: a name and a password before the host are left out."""
    return re.sub(r"//[^/?#]*@", "//...@", uri)


def absolute(path: str | Path) -> Path:
    """`path` made absolute, with `~` and `..` resolved and links left as they are."""
    # abspath, not resolve: a document is known by the name that the user gave, not by what a link points at today.
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - Path has no such "absolute"


def shown(name: str) -> str:
    """A file name fit to show and to store: U+FFFD for bytes that are no UTF-8 and what could take over a terminal."""
    return _CONTROLS.sub("\ufffd", os.fsencode(name).decode("utf-8", errors="replace"))

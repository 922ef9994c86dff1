"""Bytes to Document: one module per family of formats, chosen by content, imported when first needed."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Protocol, cast

from ingest.loaders import archive
from ingest.loaders.builder import NO_OCR, Origin, Recognition
from ingest.loaders.detection import detect
from retrieval.errors import CorruptFile, EncryptedFile, FetchError, FootnoteError
from retrieval.records import Document, MetadataValue

CLEANING_VERSION = 2
"""Of what all loaders share (builder, cleaning, detection); part of every parser's identity."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Which parser reads a file; when its identity changes, files that it reads are processed again."""

    name: str
    """The module: 'pdf', 'markdown', ..."""
    version: int
    file_type: str
    """As `detect` names it."""
    media_type: str

    @property
    def parser_id(self) -> str:
        """Goes into the fingerprint of a source, e.g. 'pdf/1.1'."""
        return f"{self.name}/{self.version}.{CLEANING_VERSION}"


def load(
    data: bytes,
    *,
    name: str,
    source_uri: str,
    doc_id: str,
    metadata: Mapping[str, MetadataValue] | None = None,
    hint: str = "",
    attach: Callable[[str, bytes], None] | None = None,
    ocr: Recognition = NO_OCR,
) -> Document:
    """The document in `data`. `metadata` is added to what the file itself tells, and wins over it.

    `hint` is the media type that a server gave, for content and names that cannot tell. `attach` is called with the
    name and the bytes of each file that came within this one. `ocr` is for text on images. Raises a LoadError
    (UnsupportedMedia, EncryptedFile, CorruptFile, EmptyDocument, NeedsOcr, LimitExceeded) that names the file and the
    reason, MissingExtra when the format needs a package that is not installed, or ConfigError for a language that
    cannot be recognised.
    """
    loader = identify(data, name, hint)
    origin = Origin(name, source_uri, doc_id, loader.media_type, loader.file_type, metadata or {}, ocr=ocr)
    origin = replace(origin, attach=attach) if attach else origin
    try:
        return _module(loader.name).load(data, origin)
    except (FootnoteError, MemoryError):
        raise
    except OSError as exc:
        if exc.errno not in _OF_THE_MACHINE:
            raise _corrupt(name, loader, exc) from exc
        raise FetchError(f"{name!r} cannot be read here: {exc.strerror}; make room, and run the same again") from exc
    except Exception as exc:  # parsers of damaged files raise anything at all
        raise _corrupt(name, loader, exc) from exc


def identify(data: bytes, name: str, hint: str = "") -> Loader:
    """Which loader reads `data`, a file called `name`. Raises the LoadErrors that need no parsing."""
    file_type = detect(data, name, hint)
    if file_type == "encrypted":
        raise EncryptedFile(f"{name!r} is protected by a password; save it without one")
    module, media_type = _FORMATS[file_type]
    media_type = media_type or archive.MEDIA_TYPES[archive.kind(data)]
    return Loader(module, _module(module).VERSION, file_type, media_type)


_OF_THE_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EROFS, errno.EAGAIN}
)
"""Errors of which the file is innocent: the next run may read it."""


def _corrupt(name: str, loader: Loader, exc: Exception) -> CorruptFile:
    reason = " ".join(f"{type(exc).__name__}: {exc}".split())[:300]
    return CorruptFile(f"{name!r} cannot be read as {loader.file_type.upper()} ({reason}); get a fresh copy")


class _LoaderModule(Protocol):
    VERSION: int
    """Raised whenever the module gives another document for the same bytes."""
    load: Callable[[bytes, Origin], Document]


def _module(name: str) -> _LoaderModule:
    return cast("_LoaderModule", import_module(f"ingest.loaders.{name}"))


MESSAGES = frozenset({"message/rfc822", "application/vnd.ms-outlook"})
"""Media types of files that others may be attached to."""

_OPENXML = "application/vnd.openxmlformats-officedocument."

_FORMATS = {
    "archive": ("archive", ""),
    "pdf": ("pdf", "application/pdf"),
    "markdown": ("markdown", "text/markdown"),
    "text": ("text", "text/plain"),
    "code": ("code", "text/plain"),
    "html": ("html", "text/html"),
    "docx": ("docx", _OPENXML + "wordprocessingml.document"),
    "pptx": ("pptx", _OPENXML + "presentationml.presentation"),
    "xlsx": ("xlsx", _OPENXML + "spreadsheetml.sheet"),
    "csv": ("delimited", "text/csv"),
    "tsv": ("delimited", "text/tab-separated-values"),
    "json": ("json_data", "application/json"),
    "jsonl": ("json_data", "application/x-ndjson"),
    "notebook": ("notebook", "application/x-ipynb+json"),
    "xml": ("xml_data", "application/xml"),
    "rst": ("unstructured", "text/x-rst"),
    "org": ("unstructured", "text/org"),
    "eml": ("mail", "message/rfc822"),
    "rtf": ("unstructured", "application/rtf"),
    "odt": ("odf", "application/vnd.oasis.opendocument.text"),
    "ods": ("odf", "application/vnd.oasis.opendocument.spreadsheet"),
    "odp": ("odf", "application/vnd.oasis.opendocument.presentation"),
    "epub": ("epub", "application/epub+zip"),
    "doc": ("old_office", "application/msword"),
    "ppt": ("old_office", "application/vnd.ms-powerpoint"),
    "xls": ("old_office", "application/vnd.ms-excel"),
    "png": ("image", "image/png"),
    "jpeg": ("image", "image/jpeg"),
    "gif": ("image", "image/gif"),
    "tiff": ("image", "image/tiff"),
    "bmp": ("image", "image/bmp"),
    "webp": ("image", "image/webp"),
    "msg": ("msg", "application/vnd.ms-outlook"),
}
"""File type, as `detect` names it: the module that reads it, and its media type; none where the kind decides."""

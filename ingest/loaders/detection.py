"""What a file is: by its content first, by its name where content cannot tell.

Binary formats and HTML show in their first bytes. Markdown, CSV, JSON and the like are all "text", so there the
extension decides; a text file of any other name is plain text.
"""

import io
import re
import struct
import zipfile
import zlib
from pathlib import PurePosixPath

import olefile

from ingest.loaders import archive
from ingest.loaders.charset import is_binary
from retrieval.errors import CorruptFile, EmptyDocument, UnsupportedMedia

SAMPLE = 4096
"""Bytes that are looked at for a sign of a format."""

TEXT_EXTENSIONS = {
    "md": "markdown",
    "markdown": "markdown",
    "mdown": "markdown",
    "mkd": "markdown",
    "mdx": "markdown",
    "html": "html",
    "htm": "html",
    "xhtml": "html",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "json": "json",
    "geojson": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "ipynb": "notebook",
    "xml": "xml",
    "rst": "rst",
    "rest": "rst",
    "org": "org",
    "eml": "eml",
    "p7s": "eml",
    "rtf": "rtf",
}

CODE_LANGUAGES = {
    **dict.fromkeys(("py", "pyi", "pyw"), "python"),
    **dict.fromkeys(("js", "mjs", "cjs", "jsx"), "javascript"),
    **dict.fromkeys(("ts", "mts", "cts"), "typescript"),
    **dict.fromkeys(("cc", "cpp", "cxx", "hh", "hpp", "hxx", "cu", "cuh"), "cpp"),
    **dict.fromkeys(("sh", "bash"), "bash"),
    **dict.fromkeys(("c", "h"), "c"),
    "tsx": "tsx",
    "java": "java",
    "go": "go",
    "rs": "rust",
    "cs": "csharp",
    "rb": "ruby",
    "php": "php",
}
"""Of source code that is read by symbol: the language, by extension."""

_SHEBANG = re.compile(rb"#!\s*\S*?/(?:env\s+(?:-S\s+)?)?(python|bash|sh|ruby|php|node)[\d.]*\s")
_INTERPRETERS = {b"sh": "bash", b"node": "javascript"}

BINARY_EXTENSIONS = {
    *("pdf", "docx", "docm", "pptx", "pptm", "xlsx", "xlsm", "odt", "ods", "odp", "epub", "doc", "ppt", "xls", "msg"),
    *("zip", "gz", "tgz", "bz2", "tbz2", "xz", "txz"),
}

_MAGIC = (
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # an empty archive
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"{\\rtf", "rtf"),
)

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"BM", "bmp"),
)

_UNREADABLE = (
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3", "a database"),
    (b"OggS", "a sound file"),
    (b"ID3", "a sound file"),
)

_HINTS = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/markdown": "md",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/json": "json",
    "application/x-ndjson": "jsonl",
    "application/xml": "xml",
    "text/xml": "xml",
    "text/x-rst": "rst",
    "message/rfc822": "eml",
}
"""The extension that a media type stands for."""

# Which of these streams lies at the top of an OLE compound file says which program wrote it.
_OLE_STREAMS = (
    ("EncryptedPackage", "encrypted"),
    ("__properties_version1.0", "msg"),
    ("WordDocument", "doc"),
    ("PowerPoint Document", "ppt"),
    ("Workbook", "xls"),
    ("Book", "xls"),
)

_ZIP_PARTS = (("word/document", "docx"), ("ppt/presentation", "pptx"), ("xl/workbook", "xlsx"))
_ODF = "application/vnd.oasis.opendocument."
_ZIP_MEDIA = {
    "application/epub+zip": "epub",
    _ODF + "text": "odt",
    _ODF + "text-template": "odt",
    _ODF + "text-master": "odt",
    _ODF + "spreadsheet": "ods",
    _ODF + "spreadsheet-template": "ods",
    _ODF + "presentation": "odp",
    _ODF + "presentation-template": "odp",
}

_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype\s+html|<html[\s>])", re.IGNORECASE | re.DOTALL
)
_MAIL = re.compile(rb"(?:(?:Received|Return-Path|Delivered-To|Message-ID|MIME-Version): )", re.IGNORECASE)


def detect(data: bytes, name: str, hint: str = "") -> str:
    """The type of a file, as one word: 'pdf', 'docx', 'markdown', 'text', ...; 'archive' for what holds files.

    `hint` is a media type from a server, of use for text whose name has no extension that says more.
    Raises EmptyDocument for no bytes at all, UnsupportedMedia for what is no document, CorruptFile for a broken
    container.
    """
    if not data:
        raise EmptyDocument(f"{name!r} is empty: 0 bytes")
    extension = extension_of(name)
    head = data[:SAMPLE].removeprefix(b"\xef\xbb\xbf")
    for magic, file_type in _MAGIC:
        if head.lstrip().startswith(magic):
            return _container(file_type, data, name, extension)
    if archive.kind(data):
        return "archive"
    if kind := _image_format(data):
        return kind
    if extension == "pdf" or (b"%PDF-" in data[:1024] and is_binary(data)):
        return "pdf"  # some writers put junk before the header; pdfium decides
    _refuse_binary(data, name, extension)
    return _text_format(head, extension if extension in TEXT_EXTENSIONS else _HINTS.get(hint, extension))


def extension_of(name: str) -> str:
    """The extension of a file name, in lower case, without the dot."""
    return PurePosixPath(name.replace("\\", "/")).suffix[1:].lower()


def code_language(name: str, head: bytes) -> str:
    """The language of source code, by the name of the file or the interpreter that its first line names, else empty."""
    extension = extension_of(name)
    script = None if extension else _SHEBANG.match(head)
    if script is None:
        return CODE_LANGUAGES.get(extension, "")
    return _INTERPRETERS.get(script[1], script[1].decode("ascii"))


def _text_format(head: bytes, extension: str) -> str:
    file_type = TEXT_EXTENSIONS.get(extension, "text")
    if file_type == "text" and code_language(f"file.{extension}" if extension else "", head):
        return "code"
    if file_type in ("text", "xml", "csv", "tsv", "json") and _HTML.match(head):
        return "html"
    if file_type == "text" and not extension and _MAIL.match(head):
        return "eml"
    return file_type


def _container(file_type: str, data: bytes, name: str, extension: str) -> str:
    if file_type == "zip":
        return _zip_format(data, name)
    if file_type == "ole":
        return _ole_format(data, name, extension)
    return file_type


def _zip_format(data: bytes, name: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            names = package.namelist()
            media = ""
            if "mimetype" in names and package.getinfo("mimetype").file_size < 200:
                media = package.read("mimetype").decode("ascii", errors="replace").strip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as exc:
        raise CorruptFile(f"{name!r} is a damaged ZIP container: {exc}; get a fresh copy") from exc
    for part, file_type in _ZIP_PARTS:
        if any(entry.startswith(part) and entry.endswith(".xml") for entry in names):
            return file_type
    if media in _ZIP_MEDIA:
        return _ZIP_MEDIA[media]
    if "[Content_Types].xml" in names or media.startswith("application/"):
        raise UnsupportedMedia(
            f"{name!r} is a package of a kind that is not read ({media or 'Office'}); export it as PDF"
        )
    return "archive"


def _ole_format(data: bytes, name: str, extension: str) -> str:
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            names = {path[0] for path in container.listdir()}
    except (OSError, ValueError, IndexError, struct.error) as exc:
        raise CorruptFile(f"{name!r} is a damaged OLE container: {exc}; get a fresh copy") from exc
    found = [file_type for stream, file_type in _OLE_STREAMS if stream in names]
    if not found:
        raise UnsupportedMedia(f"{name!r} is an OLE container of an unknown program; export it to a current format")
    return extension if extension in found else found[0]


def _image_format(data: bytes) -> str:
    """What kind of image it is; empty for what is none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    kind = next((kind for magic, kind in _IMAGES if data.startswith(magic)), "")
    return kind if kind and is_binary(data) else ""


def _refuse_binary(data: bytes, name: str, extension: str) -> None:
    if extension in BINARY_EXTENSIONS:
        raise CorruptFile(f"{name!r} is no {extension.upper()} file: its first bytes say so; get a fresh copy")
    if not is_binary(data):
        return
    for magic, kind in _UNREADABLE:
        if data.startswith(magic):
            advice = "unpack it and ingest the folder" if "archive" in kind else "no text can be read from it"
            raise UnsupportedMedia(f"{name!r} is {kind}: {advice}")
    raise UnsupportedMedia(f"{name!r} is binary and of no known format")

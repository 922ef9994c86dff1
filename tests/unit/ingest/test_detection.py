"""What a file is taken for: content first, then name."""

import bz2
import errno
import gzip
import lzma

import pytest

from ingest.loaders import CLEANING_VERSION, identify, load, text
from ingest.loaders.builder import Origin
from ingest.loaders.charset import decode, is_binary
from retrieval.errors import CorruptFile, EmptyDocument, EncryptedFile, FetchError, LoadError, UnsupportedMedia
from retrieval.records import Document
from tests.unit.ingest.compound import compound
from tests.unit.ingest.files import container, pdf, read

TAR = b"a.txt".ljust(257, b"\0") + b"ustar\x0000" + bytes(248)


@pytest.mark.parametrize(
    ("data", "name", "file_type"),
    [
        (pdf([[(50, 700, "x")]]), "report.txt", "pdf"),
        (b"\n\n" + pdf([[(50, 700, "x")]]), "report", "pdf"),
        (b"<!DOCTYPE html><p>x", "page.txt", "html"),
        (b"<?xml version='1.0'?>\n<!-- c --><html lang='en'><p>x</p></html>", "page.xml", "html"),
        (b"<root><a>x</a></root>", "data.xml", "xml"),
        (b"{\\rtf1 x}", "letter.doc", "rtf"),
        (b"# A", "README.md", "markdown"),
        (b"<!DOCTYPE html> in a heading", "README.md", "markdown"),
        (b"a,b", "t.csv", "csv"),
        (b"a\tb", "T.TSV", "tsv"),
        (b"{}", "a.json", "json"),
        (b"{}", "a.ndjson", "jsonl"),
        (b"plain", "LICENSE", "text"),
        (b"print(1)", "a.py", "code"),
        (b"Received: from a\nSubject: b\n\nc", "1234", "eml"),
        (container({"word/document.xml": "x"}), "a.bin", "docx"),
        (container({"ppt/presentation.xml": "x"}), "a", "pptx"),
        (container({"xl/workbook.xml": "x"}), "a.zip", "xlsx"),
        (container({"mimetype": "application/epub+zip"}), "book", "epub"),
        (container({"mimetype": "application/vnd.oasis.opendocument.text"}), "a.odt", "odt"),
        (container({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}), "a", "ods"),
        (compound({"WordDocument": b"x"}), "a", "doc"),
        (compound({"WordDocument": b"x", "PowerPoint Document": b"x"}), "a.ppt", "ppt"),
        (compound({"__properties_version1.0": b"x", "__attach/EncryptedPackage": b"x"}), "a", "msg"),
        (container({"a.md": "x"}), "a.zip", "archive"),
        (b"PK\x05\x06" + bytes(18), "empty", "archive"),
        (TAR, "backup", "archive"),
        (gzip.compress(b"x"), "a.txt.gz", "archive"),
        (bz2.compress(b"x"), "a", "archive"),
        (lzma.compress(b"x"), "a", "archive"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a.png", "png"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a.txt", "png"),
        (b"RIFF\x00\x00\x00\x00WEBP", "a", "webp"),
        (b"BM\x00\x01\x02\x03", "a", "bmp"),
        (b"BMW is a maker of cars", "a.txt", "text"),
    ],
)
def test_content_decides_and_the_name_settles_the_rest(data: bytes, name: str, file_type: str) -> None:
    """A wrong or missing extension does no harm where the content tells."""
    assert identify(data, name).file_type == file_type


@pytest.mark.parametrize(
    ("data", "name", "error", "message"),
    [
        (b"", "a.docx", EmptyDocument, "'a.docx' is empty: 0 bytes"),
        (b"not a zip at all", "a.docx", CorruptFile, "is no DOCX file"),
        (b"PK\x03\x04 cut short", "a.docx", CorruptFile, "damaged ZIP container"),
        (b"no gzip", "a.gz", CorruptFile, "is no GZ file"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "a.7z", UnsupportedMedia, "7-Zip archive: unpack it"),
        (
            container({"[Content_Types].xml": "x", "xl/workbook.bin": "x"}),
            "a.xlsb",
            UnsupportedMedia,
            "export it as PDF",
        ),
        (bytes(range(256)), "a.dat", UnsupportedMedia, "binary and of no known format"),
        (
            container({"a.md": "x"}),
            "a.zip",
            UnsupportedMedia,
            r"an archive \(zip\), no document; ingest it as a source",
        ),
        (compound({"Foo": b"x"}), "a.foo", UnsupportedMedia, "OLE container"),
        (compound({"Foo": b"x"})[:500], "a.doc", CorruptFile, "damaged OLE container"),
        (compound({"EncryptedPackage": b"x"}), "a.xlsx", EncryptedFile, "protected by a password"),
    ],
)
def test_what_is_no_document_is_refused_with_its_reason(
    data: bytes, name: str, error: type[Exception], message: str
) -> None:
    """Each refusal says what the file is and what to do about it."""
    with pytest.raises(error, match=message):
        read(data, name)


def test_the_identity_of_a_parser_names_module_and_version() -> None:
    """It goes into the ledger, so that a better parser reads its files again."""
    loader = identify(b"# A", "a.md")
    assert (loader.name, loader.media_type) == ("markdown", "text/markdown")
    assert loader.parser_id == f"markdown/{loader.version}.{CLEANING_VERSION}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_in_any_encoding_is_read(encoding: str) -> None:
    """With or without byte order mark."""
    text = "Grüße aus Köln, und schöne Tage wünschen wir Ihnen.\nDas Übrige später.\n"
    assert read(text.encode(encoding), "a.txt").text == text.strip()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_plain_english_in_utf16_is_read_without_a_mark(encoding: str) -> None:
    """Its bytes are valid UTF-8, full of NULs."""
    assert read("Plain English.".encode(encoding), "a.txt").text == "Plain English."


def test_cyrillic_of_old_is_guessed() -> None:
    """Windows-1251 has no mark; its letters say what it is."""
    text = "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний."
    assert read(text.encode("cp1251"), "a.txt").text == text


def test_a_few_bad_bytes_do_not_change_the_encoding() -> None:
    """UTF-8 that was damaged in one place keeps the rest of its letters."""
    data = "Grüße aus Köln über Zürich".encode() + b" \xff"
    assert read(data, "a.txt").text == "Grüße aus Köln über Zürich \ufffd"


def test_a_declared_encoding_is_believed_when_it_fits() -> None:
    """HTML and mail say what they are in; a wrong word for it is passed over."""
    data = "naïve café".encode("latin-1")
    assert decode(data, declared="latin-1") == "naïve café"
    assert decode("naïve".encode(), declared="no-such-encoding") == "naïve"
    assert decode("日本".encode(), declared="ascii") == "日本"


def test_a_terminal_log_is_text() -> None:
    """Colours are control characters, but few."""
    assert not is_binary(b"\x1b[31merror\x1b[0m: no such file\n")
    assert is_binary(b"text with a \x00 in it")


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, FetchError), (errno.EMFILE, FetchError), (None, CorruptFile)]
)
def test_a_full_disk_is_no_damage(monkeypatch: pytest.MonkeyPatch, number: int | None, kind: type[LoadError]) -> None:
    """What the machine lacks may be there in the next run; what a parser says of the bytes stays so."""

    def load_text(data: bytes, origin: Origin) -> Document:
        raise OSError(number, "no room") if number else OSError("cannot identify image file")

    monkeypatch.setattr(text, "load", load_text)
    with pytest.raises(kind, match=r"'a\.txt' cannot be read"):
        load(b"The pump.", name="a.txt", source_uri="file:///a.txt", doc_id="0")

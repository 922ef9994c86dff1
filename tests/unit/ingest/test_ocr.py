"""Text recognition: what is asked of tesseract, what becomes of its words, and what happens without it."""

import shutil
import struct
import time
import zlib
from contextlib import closing
from pathlib import Path

import pypdfium2 as pdfium
import pytest

from ingest.loaders import load, ocr, pdf_scans
from ingest.loaders.builder import Recognition
from retrieval.errors import ConfigError, CorruptFile, LimitExceeded, NeedsOcr
from retrieval.records import Document
from tests.unit.ingest.files import read
from tests.unit.ingest.pdfs import pages, scan

installed = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")

WIDTH, HEIGHT = 1200, 1600


def drawn(lines: list[str]) -> bytes:
    """Gray pixels with these lines, row by row, as if a printed page was scanned."""
    file = pages([[(50, 700 - 30 * number, line) for number, line in enumerate(lines)]])
    with closing(pdfium.PdfDocument(file)) as document:
        bitmap = document[0].render(scale=WIDTH / 600, grayscale=True)
        assert (bitmap.width, bitmap.height, bitmap.stride) == (WIDTH, HEIGHT, WIDTH)
        return bytes(bitmap.buffer)


def png(pixels: bytes) -> bytes:
    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + pixels[i : i + WIDTH] for i in range(0, len(pixels), WIDTH))
    head = part(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def recognised(data: bytes, name: str, languages: str = "eng") -> Document:
    return load(data, name=name, source_uri=f"file:///{name}", doc_id="0123456789abcdef", ocr=Recognition(languages))


@installed
def test_an_image_is_read() -> None:
    """Its lines are text, with their places in pixels, on a page."""
    document = recognised(png(drawn(["The first line of a page", "and the second one."])), "a.png")
    assert document.text == "The first line of a page\n\nand the second one."
    assert len(document.page_starts) == 1
    box = document.elements[0].boxes[0]
    assert abs(box.left - 100) < 10
    assert abs(box.top - 180) < 20


@installed
def test_a_scanned_page_is_read() -> None:
    """It is drawn as it is shown, and the places are those on the page."""
    document = recognised(scan(drawn(["The first line of a page", "and the second one."]), WIDTH, HEIGHT), "a.pdf")
    assert document.text == "The first line of a page\n\nand the second one."
    assert document.metadata["pages_recognised"] == (1,)
    box = document.elements[0].boxes[0]
    assert abs(box.left - 50) < 5
    assert abs(box.top - 90) < 10


@installed
def test_an_image_without_text_needs_ocr_still() -> None:
    """The error says that it was tried."""
    with pytest.raises(NeedsOcr, match=r"'a\.png' is an image, and no text was recognised"):
        recognised(png(drawn([])), "a.png")
    with pytest.raises(NeedsOcr, match=r"no text was recognised on them \(eng\)"):
        recognised(scan(drawn([]), WIDTH, HEIGHT), "a.pdf")


@installed
def test_a_damaged_image_is_corrupt() -> None:
    """Whatever tesseract says of it is in the message."""
    with pytest.raises(CorruptFile, match=r"'a\.png' cannot be read as an image"):
        recognised(png(drawn(["text"]))[:60], "a.png")


@installed
@pytest.mark.parametrize("languages", ["xyz", "eng+xyz", "--help", "../eng", ""])
def test_a_language_without_data_is_a_wrong_setting(languages: str) -> None:
    """The message names it, and what there is."""
    with pytest.raises(ConfigError, match=r"no data for the language '.*' of ingest\.ocr_languages.*eng"):
        ocr.recognise(b"", languages=languages, name="a.png")


def test_an_image_needs_ocr_where_it_is_not_wanted() -> None:
    """Nothing is run."""
    with pytest.raises(NeedsOcr, match=r"'a\.png' is an image; install tesseract"):
        read(png(drawn(["text"])), "a.png")


def test_without_tesseract_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked for recognition."""
    monkeypatch.setattr(ocr, "_program", lambda name: None)
    assert not ocr.available()
    with pytest.raises(NeedsOcr, match="install tesseract"):
        ocr.recognise(b"", languages="eng", name="a.png")


def program(folder: Path, script: str) -> str:
    """An executable that answers as tesseract does when asked for its languages, and else runs `script`."""
    path = folder / "tesseract"
    path.write_text(f"#!/bin/sh\nif [ $1 = --list-langs ]; then echo List; echo eng; exit; fi\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `tesseract` is taken for the installed one."""
    path = str(tmp_path / "tesseract")
    monkeypatch.setattr(ocr, "_program", lambda name: path if name == "tesseract" else shutil.which(name))
    return tmp_path


def test_what_takes_too_long_is_ended(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit, not a hang."""
    program(fake, "exec sleep 30")
    monkeypatch.setattr(ocr, "SECONDS", 1)
    start = time.monotonic()
    with pytest.raises(LimitExceeded, match=r"'a\.png': .* takes more than 1 s"):
        ocr.recognise(b"image", languages="eng", name="a.png")
    assert time.monotonic() - start < 10


def test_a_program_that_fails_is_quoted(fake: Path) -> None:
    """On one line."""
    program(fake, "cat > /dev/null; echo Error in pixRead >&2; echo no pix >&2; exit 1")
    with pytest.raises(CorruptFile, match=r"\(Error in pixRead no pix\)"):
        ocr.recognise(b"image", languages="eng", name="a.png")


HEADER = "level page_num block_num par_num line_num word_num left top width height conf text"


def words(*rows: str) -> str:
    """Tesseract's output with these rows."""
    return "\n".join("\t".join(row.split(" ", 11)) for row in (HEADER, *rows)) + "\n"


def test_words_become_lines_and_doubtful_ones_are_left_out(fake: Path) -> None:
    """What has no letters, and what was hardly recognised, is dirt or a drawing."""
    rows = words(
        "1 1 0 0 0 0 0 0 600 800 -1 ",
        "5 1 1 1 1 1 50 100 40 10 96.5 Net",
        "5 1 1 1 1 2 95 100 40 10 95.1 sales",
        "5 1 1 1 1 3 300 100 60 10 91.0 89,498",
        "5 1 1 1 2 1 50 120 40 10 12.0 aeiou",
        "5 1 1 1 3 1 50 140 40 10 95.0 |",
        "5 1 1 1 4 1 50 160 40 10 95.0  ",
        "1 2 0 0 0 0 0 0 300 400 -1 ",
    )
    (fake / "answer").write_text(rows)
    program(fake, f"cat > /dev/null; cat '{fake}/answer'")
    first, second = ocr.recognise(b"image", languages="eng", name="a.png")
    assert [[word.text for word in line] for line in first.lines] == [["Net", "sales", "89,498"]]
    assert (second.width, second.height, second.lines) == (300, 400, ())
    (line,) = pdf_scans.as_lines(first, 0.5)
    assert [cell.text for cell in line.cells] == ["Net sales", "89,498"]
    assert (line.left, line.right, line.bottom) == (25, 180, 345)


def test_hyphens_at_line_ends_are_settled_as_in_other_files() -> None:
    """The layout decides whether the word was broken."""
    word = ocr.Word("posi-", 0, 0, 50, 10, 95.0)
    (line,) = pdf_scans.as_lines(ocr.Page(100, 100, ((word,),)))
    assert (line.text, line.hyphen) == ("posi", True)

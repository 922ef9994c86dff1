"""Office formats of before 2007, by a LibreOffice that the tests play."""

import io
import os
import time
from pathlib import Path

import docx
import pytest

from ingest.loaders import old_office
from retrieval.errors import CorruptFile, EncryptedFile, LimitExceeded, UnsupportedMedia
from tests.unit.ingest.compound import compound
from tests.unit.ingest.files import read

LETTER = compound({"WordDocument": b"x"})


def office(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program called soffice first on the path; its last two arguments are the folder and the file."""
    program = folder / "soffice"
    program.write_text(f"#!/bin/bash\nout=${{@: -2:1}}\nfile=${{@: -1}}\nmkdir -p $out\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("name", "stream"), [("a.doc", "WordDocument"), ("a.ppt", "PowerPoint Document"), ("a.xls", "Workbook")]
)
def test_without_libreoffice_there_are_two_ways_out(name: str, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install it, or save the file in the format of today."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnsupportedMedia, match=rf"needs LibreOffice.*install it, or save the file as \.{name[2:]}x"):
        read(compound({stream: b"x"}), name)


def test_what_libreoffice_makes_of_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the format of today; the document keeps the media type of the file."""
    package = docx.Document()
    package.add_heading("Of old", 1)
    out = io.BytesIO()
    package.save(out)
    (tmp_path / "made.docx").write_bytes(out.getvalue())
    office(tmp_path, monkeypatch, f"test -s $file && cp {tmp_path}/made.docx $out/source.docx")
    document = read(LETTER, "a.doc")
    assert document.text == "Of old"
    assert document.media_type == "application/msword"


def test_a_file_that_it_cannot_read_is_corrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so by making nothing."""
    office(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(CorruptFile, match="cannot be read by LibreOffice"):
        read(LETTER, "a.doc")


def test_one_that_takes_too_long_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that hangs in the background would keep memory for ever."""
    monkeypatch.setattr(old_office, "SECONDS", 0.3)
    office(tmp_path, monkeypatch, f"(sleep 1; touch {tmp_path}/alive) & sleep 30")
    with pytest.raises(LimitExceeded, match="took LibreOffice more than"):
        read(LETTER, "a.doc")
    time.sleep(1.2)
    assert not (tmp_path / "alive").exists()


def test_a_protected_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for a program to ask for the password."""
    office(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(EncryptedFile, match="save it without one"):
        read(compound({"PowerPoint Document": b"x", "EncryptedSummary": b"x"}), "a.ppt")

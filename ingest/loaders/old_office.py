"""DOC, PPT and XLS, the formats of Office before 2007: turned into those of today by LibreOffice, if it is there."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ingest.loaders import docx, pptx, xlsx
from ingest.loaders.builder import Origin
from retrieval.errors import CorruptFile, EncryptedFile, LimitExceeded, UnsupportedMedia
from retrieval.records import Document

VERSION = 1

SECONDS = 50.0
"""For one file; less than reading may take in all, so that LibreOffice ends before whoever waits for it is ended."""

_TODAY: Mapping[str, tuple[Callable[[bytes, Origin], Document], str]] = {
    "doc": (docx.load, "docx"),
    "ppt": (pptx.load, "pptx"),
    "xls": (xlsx.load, "xlsx"),
}
"""File type: who reads what it becomes, and the format's name."""

_MARKS_OF_PASSWORDS = (b"E\0n\0c\0r\0y\0p\0t\0e\0d\0S\0u\0m\0m\0a\0r\0y",)


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`. Raises UnsupportedMedia without LibreOffice, LimitExceeded when it takes too long."""
    reader, extension = _TODAY[origin.file_type]
    program = shutil.which("soffice")
    if program is None:
        raise UnsupportedMedia(
            f"{origin.name!r} needs LibreOffice to be read (soffice); install it, or save the file as .{extension}"
        )
    if any(mark in data for mark in _MARKS_OF_PASSWORDS):
        raise EncryptedFile(f"{origin.name!r} is protected by a password; save it without one")
    with tempfile.TemporaryDirectory(prefix="footnote-") as folder:
        converted = _converted(program, data, Path(folder), extension, origin)
    return reader(converted, replace(origin, file_type=extension))


def _converted(program: str, data: bytes, folder: Path, extension: str, origin: Origin) -> bytes:
    source = folder / f"source.{origin.file_type}"
    source.write_bytes(data)
    profile = (folder / "profile").as_uri()  # of its own: two that share one wait for each other
    command = [program, f"-env:UserInstallation={profile}", "--headless", "--norestore", "--convert-to", extension]
    with subprocess.Popen(  # noqa: S603 - a program of the administrator's, a file name of ours
        [*command, "--outdir", str(folder / "out"), str(source)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired as exc:
            raise LimitExceeded(
                f"{origin.name!r} took LibreOffice more than {SECONDS:.0f} s; save it as .{extension}"
            ) from exc
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # soffice is a script; the work is its child's
    result = folder / "out" / f"source.{extension}"
    if not result.is_file():
        raise CorruptFile(f"{origin.name!r} cannot be read by LibreOffice; save it as .{extension}")
    return result.read_bytes()

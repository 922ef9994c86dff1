"""Text recognition by tesseract, when it is installed: an image to lines of words with their places.

tesseract runs as a process of its own: one thread, limits on memory and time, the image through a pipe. It ends with
the process that started it, whatever ends that one.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from statistics import fmean

from ingest.loaders.cleaning import one_line
from retrieval.errors import ConfigError, CorruptFile, LimitExceeded, NeedsOcr

SECONDS = 120
"""Time for one image, which may have several pages; a page of print takes one to five."""

MEMORY = 2**30
"""Bytes that tesseract may take; a page at 300 dpi needs a tenth of it."""

CONFIDENCE = 40
"""Of a line, in percent, below which it is taken for dirt, a drawing or a photograph. Print has 80 to 97."""


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word; its box is in pixels from the left and upper edge of the image."""

    text: str
    left: int
    top: int
    right: int
    bottom: int
    confidence: float
    """0 to 100."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an image: its size in pixels, and its lines in reading order, none of them empty."""

    width: int
    height: int
    lines: tuple[tuple[Word, ...], ...]


def available() -> bool:
    """Whether tesseract is installed."""
    return _program("tesseract") is not None


def recognise(image: bytes, *, languages: str, name: str) -> list[Page]:
    """The pages of an image file; `languages` as tesseract knows them, e.g. "eng+deu"; `name` is for messages.

    Raises NeedsOcr when tesseract is not installed, ConfigError for a language that it has no data for, CorruptFile
    for what it cannot read, LimitExceeded.
    """
    program = _program("tesseract")
    if program is None:
        raise NeedsOcr(f"{name!r} needs text recognition: install tesseract")
    _check_languages(program, languages)
    output, errors, status = _run([program, "stdin", "stdout", "-l", languages, "--psm", "3", "tsv"], image, name)
    pages = list(_pages(output))
    if status or not pages:
        reason = " ".join(errors.split())[:200] or f"tesseract ended with status {status}"
        raise CorruptFile(f"{name!r} cannot be read as an image ({reason}); get a fresh copy")
    return pages


@cache
def _program(name: str) -> str | None:
    return shutil.which(name)


def _check_languages(program: str, languages: str) -> None:
    known = _languages(program)
    for language in languages.split("+"):
        if language not in known:
            raise ConfigError(
                f"tesseract has no data for the language {language!r} of ingest.ocr_languages; install it "
                f"(package tesseract-ocr-{language}) or name others, it has: {', '.join(sorted(known)) or 'none'}"
            )


@cache
def _languages(program: str) -> frozenset[str]:
    command = [program, "--list-langs"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - as found
    return frozenset(result.stdout.split("\n")[1:]) - {"", "osd"}  # osd knows scripts, no words


def _run(command: Sequence[str], data: bytes, name: str) -> tuple[str, str, int]:
    """What the program wrote and how it ended; it is killed when this process or its time ends."""
    setpriv = _program("setpriv") if sys.platform == "linux" else None
    guarded = [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command
    with subprocess.Popen(  # noqa: S603 - the program as found on the path, no shell, nothing of the file's
        guarded,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},  # more of them take longer for a page, and other workers' cores
    ) as process:
        _limit(process.pid)
        try:
            output, errors = process.communicate(data, timeout=SECONDS)
        except BaseException as exc:
            process.kill()
            if isinstance(exc, subprocess.TimeoutExpired):
                raise LimitExceeded(
                    f"{name!r}: recognising the text of an image takes more than {SECONDS} s; split or shrink it"
                ) from exc
            raise
    return output.decode("utf-8", errors="replace"), errors.decode("utf-8", errors="replace"), process.returncode


def _limit(pid: int) -> None:
    """Bound what the program may take, where the system can do that from outside."""
    if not hasattr(resource, "prlimit"):
        return
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        _, hard = resource.prlimit(pid, kind)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, kind, (bound, bound))


def _pages(tsv: str) -> Iterator[Page]:
    """Rows of tesseract's TSV: level, page, block, paragraph, line, word, left, top, width, height, conf, text."""
    rows = [cells for cells in (line.split("\t") for line in tsv.split("\n")[1:]) if len(cells) == 12]
    for _, group in groupby(rows, key=lambda cells: cells[1]):
        page = list(group)
        words = [cells for cells in page if cells[0] == "5"]
        lines = (tuple(map(_word, line)) for _, line in groupby(words, key=lambda cells: cells[1:5]))
        legible = (tuple(word for word in line if word.text) for line in lines)
        yield Page(int(page[0][8]), int(page[0][9]), tuple(line for line in legible if _is_text(line)))


def _word(cells: Sequence[str]) -> Word:
    left, top, width, height = map(int, cells[6:10])
    return Word(one_line(cells[11]), left, top, left + width, top + height, float(cells[10]))


def _is_text(line: Sequence[Word]) -> bool:
    return any(map(str.isalnum, "".join(word.text for word in line))) and (
        fmean(word.confidence for word in line) >= CONFIDENCE
    )

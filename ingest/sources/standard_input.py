"""Standard input as one document, known by the name that the user gives it."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import quote

from ingest.settings import IngestSettings
from ingest.sources import spooling
from ingest.sources.identity import shown
from ingest.sources.local import too_large
from ingest.sources.records import Fetched, Source
from retrieval.errors import FetchError, InvalidRequest, LimitExceeded

_STEP = 2**20
_IN_MEMORY = 8 * 2**20


class StandardInput:
    """What comes by `stream`, read when sources are found: there, Ctrl-C ends the wait for it."""

    def __init__(self, settings: IngestSettings, name: str, stream: IO[bytes] | None = None) -> None:
        self._max_bytes = settings.max_file_bytes
        self._name = shown(name)
        self._stream = stream
        self._content: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._size = 0
        self._error: LimitExceeded | FetchError | None = None

    def root(self, argument: str | Path) -> str:
        """The URI that the name makes."""
        if argument != "-":
            raise InvalidRequest(f"{str(argument)!r} came by standard input; to read it again, pipe it to `-` again")
        if not self._name.strip():
            raise InvalidRequest("standard input needs a name, e.g. `notes.md`; its extension says what it is")
        if self._stream is None and sys.stdin is None:
            raise InvalidRequest("standard input is closed; pipe the document to `footnote ingest -`")
        return f"stdin:{quote(self._name, safe='/')}"

    def find(self, roots: Sequence[str]) -> Iterator[Source]:
        """The one document."""
        self._read()
        for root in roots:
            yield Source(root, self._name.rpartition("/")[2] or self._name, self._size)

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:  # noqa: ARG002 - nothing is known
        """A copy in `spool`."""
        if self._error:
            raise self._error
        content = self._content
        if content is None:
            raise FetchError(f"{source.name!r} was not read from standard input")
        content.seek(0)
        path, _ = spooling.write(iter(lambda: content.read(_STEP), b""), spool, name=source.name)
        return Fetched(path, temporary=True)

    def close(self) -> None:
        """Forget the content."""
        if self._content is not None:
            self._content.close()
            self._content = None

    def _read(self) -> None:
        if self._content is not None:  # it comes once
            return
        self._content = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - `close` closes it
        stream = self._stream or sys.stdin.buffer
        try:
            while block := stream.read(_STEP):
                self._size += len(block)
                if self._size > self._max_bytes:
                    self._error = too_large(self._name, self._size, self._max_bytes)
                    return
                self._content.write(block)
        except OSError as exc:  # it is a folder, or the disk of temporary files is full
            reason = (exc.strerror or type(exc).__name__).lower()
            self._error = FetchError(f"{self._name!r} cannot be read from standard input: {reason}")

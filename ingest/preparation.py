"""One fetched source to documents and chunks: all that happens before the embedder, in whichever process.

Pure: what it gives depends on the task, the bytes and the installed parsers alone, and the store is not asked. Files
that come within a file (attachments of a message) become documents of the same outcome.
"""

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ingest import ledger
from ingest.indexing import Cutter
from ingest.loaders import identify, load, ocr
from ingest.loaders.builder import Recognition
from ingest.settings import IngestSettings
from ingest.sources import content_hash, doc_id_for, read_file
from ingest.sources.identity import member_uri
from ingest.sources.unpacking import unpack
from ingest.tasks import Outcome, Prepared, Settled, Task
from retrieval.errors import FetchError, FootnoteError, LimitExceeded, LoadError, WorkerDied
from retrieval.records import Document, SourceRecord

_log = logging.getLogger(__name__)

MAX_DEPTH = 4
"""Files within files: a mail in a mail in a mail in a mail."""


def _ignore(line: SourceRecord) -> None:
    """For callers that do not watch."""


def _go_on() -> None:
    """For callers that let recognition take as long as it takes."""


def prepare(
    task: Task,
    *,
    cutter: Cutter,
    settings: IngestSettings,
    on_identified: Callable[[SourceRecord], None] = _ignore,
    before_page: Callable[[], None] = _go_on,
) -> Outcome:
    """What becomes of `task`; raises nothing but MemoryError, for all else there are lines.

    `on_identified` is told the line with hash and parser before the file is parsed, which may be the end of the
    process; `before_page` is called before each page whose text is recognised. A source that is as `task.before` says
    is settled without parsing, unless the task says `force`.
    """
    return _Preparation(task, cutter, settings, before_page).outcome(on_identified)


def failed(task: Task, error: Exception, known: SourceRecord | None = None) -> Outcome:
    """The outcome of a task that cannot be prepared. `known` is what was found out before."""
    line = known or _first_line(task)
    return Outcome(task.uri, settled=(Settled(ledger.failure(line, error), task.name),))


def line_of(document: Document) -> SourceRecord:
    """The line of a document that was made by other means than files."""
    data = document.text.encode("utf-8")
    return SourceRecord(
        source_uri=document.source_uri,
        status="ingested",
        doc_id=document.doc_id,
        content_hash=content_hash(data),
        fingerprint="document",
        size=len(data),
        media_type=document.media_type,
        version=document.version,
        pages=len(document.page_starts),
        attempts=1,
    )


def ocr_languages(settings: IngestSettings) -> str:
    """In which text can be recognised, e.g. 'eng+deu'; empty when it cannot, or shall not be."""
    return settings.ocr_languages if settings.ocr == "auto" and ocr.available() else ""


class _Preparation:
    def __init__(self, task: Task, cutter: Cutter, settings: IngestSettings, before_page: Callable[[], None]) -> None:
        self._before_page = before_page
        self._task = task
        self._cutter = cutter
        self._settings = settings
        self._ocr = ocr_languages(settings)
        self._documents: list[Prepared] = []
        self._settled: list[Settled] = []
        self._archive: Settled | None = None
        self._members: tuple[Task, ...] = ()

    def outcome(self, on_identified: Callable[[SourceRecord], None]) -> Outcome:
        self._source(on_identified)
        return Outcome(self._task.uri, tuple(self._documents), tuple(self._settled), self._archive, self._members)

    def _source(self, on_identified: Callable[[SourceRecord], None]) -> None:
        """The source itself; what comes within it follows."""
        task = self._task
        line = _first_line(task)
        begin = time.perf_counter()
        try:
            data = read_file(task.path, name=task.name, max_bytes=self._settings.max_file_bytes)
            line = _with_content(line, data, task, seconds=time.perf_counter() - begin)
            loader = identify(data, task.name, task.media_type)
            line = self._with_parser(line, loader.parser_id, loader.media_type)
            if self._is_known(line):
                self._settle_as_before()
            elif loader.name == "archive":
                del data
                on_identified(line)
                self._unpack(line)
            else:
                on_identified(line)
                self._load(data, line, task.name, hint=task.media_type, depth=task.depth)
        except MemoryError:
            raise
        except Exception as exc:  # one file must not end the run, whatever our own code does with it
            self._fail(line, task.name, exc)

    def _is_known(self, line: SourceRecord) -> bool:
        return not self._task.force and ledger.is_known(self._task.before, line, ocr=self._ocr)

    def _settle_as_before(self) -> None:
        before = self._task.before
        assert before is not None  # noqa: S101 - `is_known` says so
        line = replace(before, validator=self._task.validator, size=self._task.size or before.size)
        self._settled.append(Settled(line, self._task.name, unchanged=True))

    def _unpack(self, line: SourceRecord) -> None:
        """The members of an archive become tasks; those that cannot be read are settled."""
        task = self._task
        begin = time.perf_counter()
        unpacked = unpack(task, settings=self._settings)
        self._members = tuple(replace(member, metadata_id=self._metadata_id(member)) for member in unpacked.tasks)
        for problem in unpacked.problems:
            self._fail(self._child_line(problem.uri, task.uri), problem.name, problem.error)
        self._archive = Settled(_timed(line, "parse", begin), task.name)

    def _metadata_id(self, member: Task) -> str:
        """A member's own metadata counts beside that of the archive."""
        if member.metadata == self._task.metadata:
            return self._task.metadata_id
        return f"{self._task.metadata_id}+{ledger.metadata_id(member.metadata, {})}"

    def _load(self, data: bytes, line: SourceRecord, name: str, *, hint: str = "", depth: int) -> None:
        """The document in `data`, and those of the files within it. Raises a LoadError."""
        attachments: list[tuple[str, bytes]] = []
        begin = time.perf_counter()
        document = load(
            data,
            name=name,
            source_uri=line.source_uri,
            doc_id=line.doc_id,
            metadata=self._task.metadata,
            hint=hint,
            ocr=Recognition(self._ocr, self._before_page),
            attach=lambda child, content: attachments.append((child, content)),
        )
        line = _timed(line, "parse", begin)
        begin = time.perf_counter()
        chunks = self._cutter.split(document)
        line = _timed(replace(line, version=document.version, pages=len(document.page_starts)), "cut", begin)
        if not document.metadata.keys().isdisjoint({"pages_recognised", "pages_without_text"}):
            line = ledger.scanned(line, ocr=self._ocr)
        self._documents.append(Prepared(document, chunks, self._cutter.edition, line, name))
        numbers = Counter[str]()
        for child, content in attachments:
            child_name = child.strip() or "attachment"
            numbers[child_name] += 1
            uri = member_uri(line.source_uri, child_name, numbers[child_name])
            self._child(uri, child_name, content, parent=line.source_uri, depth=depth + 1)

    def _child(self, uri: str, name: str, data: bytes, *, parent: str, depth: int) -> None:
        """A file that came within another. What is wrong with it is its own failure."""
        line = replace(self._child_line(uri, parent, size=len(data)), content_hash=content_hash(data))
        try:
            if self._task.alone:
                raise WorkerDied(
                    f"{name!r} was not read: reading what came in {self._task.name!r} has ended the process twice"
                )
            if depth > MAX_DEPTH:
                raise LimitExceeded(f"{name!r} lies in more than {MAX_DEPTH} files within each other; take it out")
            loader = identify(data, name)
            line = self._with_parser(line, loader.parser_id, loader.media_type)
            if loader.name == "archive":
                self._unpack_child(data, line, name, depth)
            else:
                self._load(data, line, name, depth=depth)
        except MemoryError:
            raise
        except Exception as exc:
            self._fail(line, name, exc)

    def _unpack_child(self, data: bytes, line: SourceRecord, name: str, depth: int) -> None:
        """An archive within a message: its members are documents of the same outcome."""
        spool = self._task.spool
        if spool is None:
            raise LimitExceeded(f"{name!r} is an archive where none may be; take it out, and ingest it by itself")
        path = spool / f"attached-{line.doc_id}"
        try:
            path.write_bytes(data)
            archive = replace(self._task, uri=line.source_uri, name=name, path=path, size=len(data), depth=depth)
            unpacked = unpack(archive, settings=self._settings)
        except OSError as exc:
            raise FetchError(f"{name!r} cannot be unpacked to {spool}: {exc.strerror}; make room") from exc
        finally:
            path.unlink(missing_ok=True)
        self._settled.append(Settled(line, name))
        for problem in unpacked.problems:
            self._fail(self._child_line(problem.uri, line.source_uri), problem.name, problem.error)
        for task in unpacked.tasks:
            content = _taken(task.path, task.name, self._settings.max_file_bytes)
            self._child(task.uri, task.name, content, parent=line.source_uri, depth=depth + 1)

    def _child_line(self, uri: str, parent: str, *, size: int = 0) -> SourceRecord:
        line = SourceRecord(uri, "ingested", doc_id_for(uri), "", "", size, parent=parent, attempts=1)
        return self._with_parser(line, ledger.detection_id(), "")

    def _with_parser(self, line: SourceRecord, parser_id: str, media_type: str) -> SourceRecord:
        fingerprint = ledger.fingerprint(parser_id, self._task.metadata_id)
        return replace(line, media_type=media_type, fingerprint=fingerprint)

    def _fail(self, line: SourceRecord, name: str, error: Exception) -> None:
        if line.source_uri == self._task.uri and isinstance(error, LoadError) and self._is_known(line):
            self._settle_as_before()
            return
        if not isinstance(error, FootnoteError):
            _log.error("unexpected error with %s", line.source_uri, exc_info=error)
            error = LoadError(f"{name!r}: internal error {_described(error)}")
        self._settled.append(Settled(ledger.failure(line, error, ocr=self._ocr), name))


def _first_line(task: Task) -> SourceRecord:
    """The line of a source of which nothing is known yet but where it is."""
    return SourceRecord(
        source_uri=task.uri,
        status="ingested",
        doc_id=doc_id_for(task.uri),
        content_hash="",
        fingerprint=ledger.fingerprint(ledger.detection_id(), task.metadata_id),
        size=task.size,
        validator=task.validator,
        parent=task.parent,
        attempts=task.before.attempts + 1 if task.before is not None else 1,
    )


def _with_content(line: SourceRecord, data: bytes, task: Task, *, seconds: float) -> SourceRecord:
    digest = content_hash(data)
    changed = task.before is None or task.before.content_hash != digest
    attempts = 1 if changed else line.attempts
    return replace(line, content_hash=digest, size=len(data), attempts=attempts, seconds=(("read", round(seconds, 4)),))


def _timed(line: SourceRecord, stage: str, begin: float) -> SourceRecord:
    return replace(line, seconds=(*line.seconds, (stage, round(time.perf_counter() - begin, 4))))


def _taken(path: Path, name: str, max_bytes: int) -> bytes:
    """The bytes of a file of the spool folder, which is removed."""
    try:
        return read_file(path, name=name, max_bytes=max_bytes)
    finally:
        path.unlink()


def _described(error: Exception) -> str:
    """What and where: a worker's traceback goes nowhere."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300] + where

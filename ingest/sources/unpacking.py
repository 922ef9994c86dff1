"""Archives as sources: each member becomes a file in the spool folder, and a task of its own.

Members are written under names of our own; what an archive calls them is for their URI only.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePosixPath

from ingest.settings import IngestSettings
from ingest.sources import sidecars, spooling
from ingest.sources.archives import DAMAGE, STEP, Archive, Member, archive_kind, decompressed, is_tar
from ingest.sources.identity import member_uri, shown
from ingest.sources.local import is_skipped, too_large
from ingest.tasks import Task
from retrieval.errors import CorruptFile, LimitExceeded, LoadError, UnsupportedMedia
from retrieval.records import MetadataValue

MAX_DEPTH = 3
"""Archives within one another that are opened."""

MAX_RATIO = 250
"""Unpacked to packed size. Not asked of archives that unpack to less than `RATIO_FROM`."""

RATIO_FROM = 64 * 2**20

_PROGRAMS = frozenset(".jar .war .ear .apk .aab .ipa .whl .egg .nupkg .xpi .vsix".split())

_SUFFIXES = {".gz": "", ".bz2": "", ".xz": "", ".tgz": ".tar", ".tbz2": ".tar", ".tbz": ".tar", ".txz": ".tar"}


@dataclass(frozen=True, slots=True)
class Problem:
    """A member that cannot be read."""

    uri: str
    name: str
    error: LoadError


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What an archive held: in its own order, without folders, links, and what is left out of folders, too."""

    tasks: tuple[Task, ...]
    problems: tuple[Problem, ...] = ()


def unpack(task: Task, *, settings: IngestSettings) -> Unpacked:
    """The members of the archive at `task.path`, written to `task.spool`.

    Members inherit what was given with the archive; their own sidecar adds to it. Of the same name, they are numbered.
    When it raises, nothing is left in the folder: CorruptFile for a damaged archive, UnsupportedMedia for a package of
    a program, LimitExceeded for an archive with more members, bytes or archives within archives than one may have,
    FetchError when the disk is full.
    """
    if task.spool is None:
        raise LimitExceeded(f"{task.name!r} is an archive where none may be; unpack it and ingest the folder")
    if task.depth >= MAX_DEPTH:
        raise LimitExceeded(f"{task.name!r} is an archive within {MAX_DEPTH} others; unpack it and ingest the folder")
    if PurePosixPath(task.name).suffix.lower() in _PROGRAMS:
        raise UnsupportedMedia(f"{task.name!r} is a package of a program; what is in it is for machines")
    kind = archive_kind(task.path)
    if not kind:
        raise CorruptFile(f"{task.name!r} is no archive, or a damaged one; get a fresh copy")
    work = _Unpacking(task, task.spool, settings)
    try:
        return work.archive(task.path, kind) if kind in ("zip", "tar") else work.compressed(kind)
    except BaseException:
        work.clear()
        raise


@dataclass(slots=True)
class _Unpacking:
    task: Task
    spool: Path
    settings: IngestSettings
    _tasks: list[Task] = field(default_factory=list)
    _problems: list[Problem] = field(default_factory=list)
    _numbers: dict[bytes, int] = field(default_factory=dict)
    """How many members of a name there were."""

    def compressed(self, kind: str) -> Unpacked:
        """A single compressed file, or a compressed tar archive."""
        blocks = self._decompressed(kind)
        head = next(blocks, b"")
        if not is_tar(head):
            self._add(os.fsencode(self._inner_name()), chain([head], blocks))
            if self._problems:  # the only member is as good as the file itself
                raise self._problems[0].error
            return Unpacked(tuple(self._tasks))
        # On disk members can be listed before they are read: their sidecars may come last.
        path, _ = spooling.write(chain([head], blocks), self.spool, name=self.task.name)
        try:
            return self.archive(path, "tar")
        finally:
            path.unlink(missing_ok=True)

    def archive(self, path: Path, kind: str) -> Unpacked:
        with Archive(path, kind, name=self.task.name, max_members=self.settings.archive_max_members) as archive:
            budget = _Budget(self.task.name, path.stat().st_size, self.settings.archive_max_bytes)
            kept = [(name, member) for member in archive.members if (name := _plain_name(member.name))]
            names = {name for name, _ in kept}
            given = {name: member for name, member in kept if _document_of(name) in names}
            for name, member in kept:
                if name not in given:
                    self._member(name, member, given.get(name + sidecars.SUFFIX.encode()), budget)
        return Unpacked(tuple(self._tasks), tuple(self._problems))

    def _member(self, name: bytes, member: Member, sidecar: Member | None, budget: "_Budget") -> None:
        try:
            metadata = self._metadata(sidecar, budget) if sidecar else {}
            if member.problem:
                raise member.problem
            if member.size > self.settings.max_file_bytes:
                raise too_large(shown_name(name), member.size, self.settings.max_file_bytes)
        except LoadError as exc:
            self._refuse(name, exc)
            return
        self._add(name, self._read(member, budget), metadata)

    def _add(self, name: bytes, blocks: Iterator[bytes], metadata: Mapping[str, MetadataValue] | None = None) -> None:
        try:
            limited = _limited(blocks, shown_name(name), self.settings.max_file_bytes)
            path, size = spooling.write(limited, self.spool, name=shown_name(name))
        except _TooLarge as exc:
            self._refuse(name, exc.error)
            return
        except DAMAGE as exc:
            self._refuse(name, _damaged(shown_name(name), exc))
            return
        task = replace(
            self.task,
            uri=self._uri(name),
            name=shown_name(name),
            path=path,
            size=size,
            validator="",
            media_type="",
            metadata={**(metadata or {}), **self.task.metadata},
            before=None,
            parent=self.task.uri,
            depth=self.task.depth + 1,
            temporary=True,
        )
        self._tasks.append(task)

    def _refuse(self, name: bytes, error: LoadError) -> None:
        self._problems.append(Problem(self._uri(name), shown_name(name), error))

    def _uri(self, name: bytes) -> str:
        self._numbers[name] = self._numbers.get(name, 0) + 1
        return member_uri(self.task.uri, name, self._numbers[name])

    def _metadata(self, sidecar: Member, budget: "_Budget") -> dict[str, MetadataValue]:
        name = shown_name(_plain_name(sidecar.name))
        if sidecar.problem:
            raise sidecar.problem
        if sidecar.size > sidecars.MAX_BYTES:
            raise too_large(name, sidecar.size, sidecars.MAX_BYTES, "")
        try:
            data = b"".join(_limited(self._read(sidecar, budget), name, sidecars.MAX_BYTES))
        except _TooLarge as exc:
            raise exc.error from None
        except DAMAGE as exc:
            raise _damaged(name, exc) from exc
        return sidecars.parse(data, name)

    def _read(self, member: Member, budget: "_Budget") -> Iterator[bytes]:
        with member.open() as stream:
            while block := stream.read(STEP):
                budget.take(len(block))
                yield block

    def _decompressed(self, kind: str) -> Iterator[bytes]:
        budget = _Budget(self.task.name, self.task.path.stat().st_size, self.settings.archive_max_bytes)
        try:
            for block in decompressed(self.task.path, kind):
                budget.take(len(block))
                yield block
        except DAMAGE as exc:
            raise CorruptFile(f"{self.task.name!r} is a damaged archive: {exc}; get a fresh copy") from exc

    def _inner_name(self) -> str:
        path = PurePosixPath(self.task.name)
        return path.stem + _SUFFIXES.get(path.suffix.lower(), path.suffix)

    def clear(self) -> None:
        """Remove what has been written."""
        for task in self._tasks:
            task.path.unlink(missing_ok=True)


class _TooLarge(Exception):
    """One member has too many bytes; the archive as a whole has not."""

    def __init__(self, error: LoadError) -> None:
        self.error = error


def _limited(blocks: Iterator[bytes], name: str, max_bytes: int) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > max_bytes:
            raise _TooLarge(too_large(name, size, max_bytes))
        yield block


def _damaged(name: str, exc: Exception) -> CorruptFile:
    return CorruptFile(f"{name!r} is damaged in its archive: {exc}; get a fresh copy")


@dataclass(slots=True)
class _Budget:
    """Bytes that may still come out of an archive of `packed` bytes."""

    name: str
    packed: int
    most: int
    _taken: int = 0

    def take(self, size: int) -> None:
        """Raises LimitExceeded."""
        self._taken += size
        if self._taken > self.most:
            raise LimitExceeded(
                f"{self.name!r} unpacks to more than {self.most:,} bytes; unpack it, or raise ingest.archive_max_bytes"
            )
        if self._taken > RATIO_FROM and self._taken > MAX_RATIO * self.packed:
            raise LimitExceeded(
                f"{self.name!r} unpacks to more than {MAX_RATIO} times its size; if it is no bomb, unpack it and "
                "ingest the folder"
            )


def shown_name(name: bytes) -> str:
    """The last part of a member's path, fit to show."""
    return shown(os.fsdecode(name.rpartition(b"/")[2]))


def _plain_name(name: bytes) -> bytes:
    """A member's path without what leads out of the archive; empty for what is left out of folders, too."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".", b"..")]
    return b"" if any(is_skipped(os.fsdecode(part)) for part in parts) else b"/".join(parts)


def _document_of(name: bytes) -> bytes:
    """Whose sidecar a member of this name would be; empty for other names."""
    suffix = sidecars.SUFFIX.encode()
    return name.removesuffix(suffix) if name.endswith(suffix) else b""

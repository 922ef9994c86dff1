"""Local files and folders.

Discovery looks at names and file attributes only; `read_file` is what opens a file. Below a folder the order is that
of the names, so that two runs over the same tree do the same work in the same order.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ingest.sources import sidecars
from ingest.sources.identity import absolute, path_for, scheme_of, shown, uri_for
from ingest.sources.records import Fetched, Source
from retrieval.errors import FetchError, LimitExceeded, SourceNotFound

SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "__MACOSX", "lost+found"})
"""Folders that hold no documents; entered only when named as an argument."""

SKIPPED_FILES = frozenset({"Thumbs.db", "desktop.ini"})

_SETTLED_NS = 2 * 10**9
"""A file that changed no longer ago than this may change again without its times showing it: clocks of file systems
tick, those of FAT every 2 s."""

_STEP = 2**20


class LocalFiles:
    """Files and folders of this machine; those of `exclude` are not entered."""

    def __init__(self, exclude: Sequence[Path] = ()) -> None:
        self._exclude = exclude

    def root(self, argument: str | Path) -> str:
        """The `file://` URI of an argument."""
        is_uri = isinstance(argument, str) and scheme_of(argument) == "file"
        path = path_for(str(argument)) if is_uri else absolute(argument)
        if not os.path.lexists(path):
            raise SourceNotFound(f"no such file or folder: {str(argument)!r}; check the path and the spelling")
        return uri_for(path).removesuffix("/")

    def find(self, roots: Sequence[str]) -> Iterator[Source]:
        """Files among and below `roots`. Links to folders are followed, but no folder is entered twice."""
        entered = {_key(info) for path in self._exclude for info in _stats(path) if info}
        for root in roots:
            path = path_for(root + "/")
            if not _is_sidecar(path):
                yield from _walk(path, entered)

    def fetch(self, source: Source, spool: Path, *, known: str = "") -> Fetched:  # noqa: ARG002 - others need them
        """The file itself, and what its sidecar says; see `Sources.fetch`."""
        if source.problem or source.path is None:
            raise FetchError(f"{source.name!r} cannot be read: {source.problem}")
        metadata = {}
        sidecar = Path(source.sidecar) if source.sidecar else None
        # Times are looked at before anything is read: what changes after this has other times in the next run.
        validator = _validator_now(source.path, sidecar)
        if sidecar:
            name = shown(sidecar.name)
            metadata = sidecars.parse(read_file(sidecar, name=name, max_bytes=sidecars.MAX_BYTES, setting=""), name)
        return Fetched(source.path, metadata=metadata, validator=validator)

    def close(self) -> None:
        """Nothing is held."""


def read_file(path: Path, *, name: str, max_bytes: int, setting: str = "ingest.max_file_bytes") -> bytes:
    """The bytes of a regular file. Never waits for a writer, and never reads more than `max_bytes` and one.

    Raises LimitExceeded, also for a file that grows while it is read, and FetchError when it cannot be read. `setting`
    is where the limit comes from, for the error.
    """
    try:
        # What was a regular file when it was found may be a pipe by now.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise FetchError(f"{name!r} cannot be read: it is no regular file any more")
            if info.st_size > max_bytes:
                raise too_large(name, info.st_size, max_bytes, setting)
            blocks = [file.read(min(info.st_size, max_bytes) + 1)]  # all of it and no copy, unless it grows
            while blocks[-1]:
                size = sum(map(len, blocks))
                if size > max_bytes:
                    raise too_large(name, size, max_bytes, setting)
                blocks.append(file.read(min(_STEP, max_bytes + 1 - size)))
    except OSError as exc:
        raise FetchError(f"{name!r} cannot be read: {_reason(exc)}") from exc
    return b"".join(blocks)


def too_large(name: str, size: int, max_bytes: int, setting: str = "ingest.max_file_bytes") -> LimitExceeded:
    """The error for a file of at least `size` bytes where `max_bytes` are allowed, by `setting` if by any."""
    advice = f"split it, or raise {setting}" if setting else "make it smaller"
    return LimitExceeded(f"{name!r} has {size:,} bytes, the limit is {max_bytes:,}; {advice}")


def is_skipped(name: str) -> bool:
    """Whether a file or folder of this name holds no document."""
    # "~$report.docx" is the lock that an office program leaves beside an open file.
    return name.startswith((".", "~$")) or name in SKIPPED_FOLDERS or name in SKIPPED_FILES


def _walk(root: Path, entered: set[tuple[int, int]]) -> Iterator[Source]:
    pending = [(root, os.path.lexists(_sidecar(root)) and not _sidecar(root).is_dir())]
    while pending:  # a stack, not recursion: trees may be deeper than Python's stack
        path, has_sidecar = pending.pop()
        try:
            info = path.stat()
        except OSError as exc:
            # It may have been a folder: a mount that is gone, a link to one.
            yield _source(path, problem=_link_reason(path, exc), folder=True)
            continue
        if not stat.S_ISDIR(info.st_mode):
            yield _source(path, info, sidecar=_sidecar(path) if has_sidecar else None)
            continue
        if _key(info) in entered:
            continue
        entered.add(_key(info))
        try:
            pending.extend(reversed(_listed(path)))
        except OSError as exc:
            yield _source(path, problem=f"the folder cannot be listed: {_reason(exc)}", folder=True)


def _listed(folder: Path) -> list[tuple[Path, bool]]:
    """What is in a folder, by the bytes of the names, and whether it has a sidecar; sidecars are left out."""
    with os.scandir(folder) as entries:
        kept = {entry.name: _is_folder(entry) for entry in entries if not is_skipped(entry.name)}  # whether a folder
    return [
        (folder / name, not is_dir and kept.get(name + sidecars.SUFFIX) is False)
        for name, is_dir in sorted(kept.items(), key=lambda item: os.fsencode(item[0]))
        if is_dir or not name.endswith(sidecars.SUFFIX) or kept.get(name.removesuffix(sidecars.SUFFIX)) is not False
    ]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _sidecar(path: Path) -> Path:
    return Path(f"{path}{sidecars.SUFFIX}")


def _is_sidecar(path: Path) -> bool:
    if path.is_dir():
        return False
    document = path.with_name(path.name.removesuffix(sidecars.SUFFIX) or path.name)
    return document != path and os.path.lexists(document) and not document.is_dir()


def _key(info: os.stat_result) -> tuple[int, int]:
    """The same for one folder, whatever path led to it."""
    return info.st_dev, info.st_ino


def _source(
    path: Path,
    info: os.stat_result | None = None,
    *,
    sidecar: Path | None = None,
    problem: str = "",
    folder: bool = False,
) -> Source:
    if info is not None and not stat.S_ISREG(info.st_mode):
        problem = f"it is {_KINDS.get(stat.S_IFMT(info.st_mode), 'no regular file')}, not a regular file"
    return Source(
        uri=uri_for(path),
        name=shown(path.name),
        size=info.st_size if info and not problem else 0,
        validator=_validator(info, *_stats(sidecar)) if info and not problem else "",
        problem=problem,
        folder=folder,
        path=path,
        sidecar=str(sidecar or ""),
    )


def _validator_now(path: Path, sidecar: Path | None) -> str:
    return _validator(*_stats(path), *_stats(sidecar))


def _stats(path: Path | None) -> list[os.stat_result | None]:
    try:
        return [path.stat()] if path else []
    except OSError:
        return [None]


def _validator(*infos: os.stat_result | None) -> str:
    """Times, size and inode of a file and its sidecar; empty while they may change without these showing it."""
    parts = []
    latest = time.time_ns() - _SETTLED_NS
    for info in infos:
        if info is None or max(info.st_mtime_ns, info.st_ctime_ns) > latest:
            return ""
        parts.append(f"{info.st_mtime_ns:x}-{info.st_size:x}-{info.st_ino:x}-{info.st_ctime_ns:x}")
    return "+".join(parts)


_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def _link_reason(path: Path, exc: OSError) -> str:
    if exc.errno == errno.ELOOP:
        return "it is a link that leads to itself"
    if exc.errno == errno.ENOENT and path.is_symlink():
        return "it is a link whose target does not exist"
    return _reason(exc)


def _reason(exc: OSError) -> str:
    return (exc.strerror or type(exc).__name__).lower()

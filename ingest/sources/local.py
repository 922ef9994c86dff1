"""Where documents come from: local files and folders, as a list of sources in a fixed order.

Discovery looks at names and file attributes only; `read` is what opens a file. The order is that of the arguments,
and within a folder that of the names, so that two runs over the same tree do the same work in the same order.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

from retrieval.errors import CorruptFile, LoadError, SourceNotFound, UnsupportedMedia

SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "__MACOSX", "lost+found"})
"""Folders that hold no documents; entered only when named as an argument."""

SKIPPED_FILES = frozenset({"Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Source:
    """One file, as it was when discovered.

    `problem` is empty for a regular file; otherwise it says why the file cannot be read (a dangling link, a
    pipe, no permission), and `read` raises it.
    """

    uri: str
    """Absolute `file:///...`, the path's bytes percent-encoded."""
    path: Path
    name: str
    """The file's name, fit to show: bytes that are no UTF-8 are shown as U+FFFD."""
    size: int
    """Bytes."""
    mtime_ns: int
    problem: str = ""


def discover(arguments: Sequence[str | Path], *, exclude: Sequence[Path] = ()) -> Iterator[Source]:
    """Yield the files among `arguments` and below the folders among them, each once.

    Below a folder, hidden names and `SKIPPED_FOLDERS` are left out, and links to folders are followed but no folder
    is entered twice; those of `exclude` are not entered at all. Raises SourceNotFound, before anything is yielded, for
    an argument that does not exist.
    """
    paths = [_absolute(argument) for argument in arguments]
    for argument, path in zip(arguments, paths, strict=True):
        if not os.path.lexists(path):
            raise SourceNotFound(f"no such file or folder: {str(argument)!r}; check the path and the spelling")
    return _discover(paths, exclude)


def read(source: Source, *, max_bytes: int = 512 * 2**20) -> bytes:
    """The bytes of `source`. Raises a LoadError when it cannot be read or has more than `max_bytes`."""
    if source.problem:
        raise UnsupportedMedia(f"{source.name!r} cannot be read: {source.problem}")
    try:
        # A regular file may have become a pipe since it was discovered: never wait for a writer.
        descriptor = os.open(source.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnsupportedMedia(f"{source.name!r} cannot be read: it is no regular file any more")
            data = file.read(max_bytes + 1)
    except OSError as exc:
        raise CorruptFile(f"{source.name!r} cannot be read: {_reason(exc)}") from exc
    if len(data) > max_bytes:
        size = max(source.size, len(data))
        raise LoadError(
            f"{source.name!r} has {size:,} bytes, the limit is {max_bytes:,}; split it, or raise ingest.max_file_bytes"
        )
    return data


def content_hash(data: bytes) -> str:
    """SHA-256 of `data`, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def doc_id_for(uri: str) -> str:
    """The id of the document at `uri`: the first 16 hex digits of the SHA-256 of the URI."""
    return hashlib.sha256(uri.encode("utf-8")).hexdigest()[:16]


def uri_for(path: str | Path) -> str:
    """`file://` URI of a path, made absolute but with links left as they are; works for any bytes in a name."""
    return "file://" + quote_from_bytes(os.fsencode(_absolute(path)), safe="/")


def _absolute(path: str | Path) -> Path:
    # abspath, not resolve: a document is known by the name that the user gave, not by what a link points at today.
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - Path has no such "absolute"


def _discover(paths: Sequence[Path], exclude: Sequence[Path]) -> Iterator[Source]:
    seen_uris: set[str] = set()
    seen_folders = {_key(path.stat()) for path in exclude if path.exists()}
    for path in paths:
        for source in _walk(path, seen_folders):
            if source.uri not in seen_uris:
                seen_uris.add(source.uri)
                yield source


def _walk(root: Path, seen_folders: set[tuple[int, int]]) -> Iterator[Source]:
    pending = [root]
    while pending:  # a stack, not recursion: trees may be deeper than Python's stack
        path = pending.pop()
        try:
            info = path.stat()
        except OSError as exc:
            yield _source(path, problem=_link_reason(path, exc))
            continue
        if not stat.S_ISDIR(info.st_mode):
            yield _source(path, info)
            continue
        key = _key(info)
        if key in seen_folders:
            continue
        seen_folders.add(key)
        try:
            names = sorted(os.listdir(path), key=os.fsencode, reverse=True)  # noqa: PTH208 - names, not paths
        except OSError as exc:
            yield _source(path, problem=f"the folder cannot be listed: {_reason(exc)}")
            continue
        pending.extend(path / name for name in names if not _skipped(name))


def _key(info: os.stat_result) -> tuple[int, int]:
    """The same for one folder, whatever path led to it."""
    return info.st_dev, info.st_ino


def _skipped(name: str) -> bool:
    # "~$report.docx" is the lock that an office program leaves beside an open file.
    return name.startswith((".", "~$")) or name in SKIPPED_FOLDERS or name in SKIPPED_FILES


def _source(path: Path, info: os.stat_result | None = None, *, problem: str = "") -> Source:
    if info is not None and not stat.S_ISREG(info.st_mode):
        problem = f"it is {_KINDS.get(stat.S_IFMT(info.st_mode), 'no regular file')}, not a regular file"
    return Source(
        uri=uri_for(path),
        path=path,
        name=os.fsencode(path.name).decode("utf-8", errors="replace"),
        size=info.st_size if info and not problem else 0,
        mtime_ns=info.st_mtime_ns if info else 0,
        problem=problem,
    )


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

"""What is in an archive: ZIP and tar as lists of members, gzip, bzip2 and xz as a stream. Nothing is trusted.

Names, sizes and offsets in an archive are claims. Members that share bytes, headers that point backwards or ask for
memory, and decoders that need more of it than they may are refused here; `unpacking` counts what really comes out.
"""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from retrieval.errors import CorruptFile, EncryptedFile, LimitExceeded, LoadError, UnsupportedMedia

DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError),
)
"""What reading a damaged archive raises."""

STEP = 2**20

_MAX_HEADERS = 32 * 2**20
"""Bytes that headers may have in one piece: the directory of a ZIP archive, an extended header of a tar archive."""

_XZ_MEMORY = 128 * 2**20
"""xz -9 needs 65 MiB."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
"""Others are rare, and that of 7-Zip may ask for gigabytes of memory."""

_MAGIC = ((b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ", "xz"))


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive."""

    name: bytes
    """Its path as the archive has it: it may have any bytes, `..` and a slash at its beginning."""
    size: int
    """As declared."""
    open: Callable[[], IO[bytes]]
    problem: LoadError | None = None
    """Why it cannot be read."""


def archive_kind(path: Path) -> str:
    """'zip', 'tar', 'gz', 'bz2', 'xz', or empty for what is no archive, by its first bytes. Raises OSError.

    Which ZIP archives are documents of an office program is for `ingest.loaders` to say.
    """
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    return "tar" if is_tar(head) else next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive; one of before 1988 does not tell."""
    return head[257:262] == b"ustar"


class _Guarded(io.BufferedReader):
    """A file that does not give megabytes in one piece: parsers ask for as many bytes as a header says."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and 0 <= size <= _MAX_HEADERS:
            return super().read(size)
        data = super().read(_MAX_HEADERS + 1)
        if len(data) > _MAX_HEADERS:
            raise ValueError(f"a header of more than {_MAX_HEADERS:,} bytes")
        return data


class Archive:
    """An open ZIP or tar archive. Errors: CorruptFile; LimitExceeded for more than `max_members` members."""

    def __init__(self, path: Path, kind: str, *, name: str, max_members: int) -> None:
        self._name = name
        self._max = max_members
        self._file = _Guarded(path)
        try:
            self.members = self._zip() if kind == "zip" else self._tar()
        except DAMAGE as exc:
            self._file.close()
            raise CorruptFile(f"{name!r} is a damaged archive: {exc}; get a fresh copy") from exc
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _zip(self) -> list[Member]:
        archive = zipfile.ZipFile(self._file)
        entries = archive.infolist()
        self._check_count(len(entries))
        _refuse_overlaps(entries)
        return [
            Member(_zip_name(entry), entry.file_size, _opener(archive, entry), _zip_problem(entry))
            for entry in entries
            if not entry.filename.endswith("/") and not stat.S_ISLNK(entry.external_attr >> 16)
        ]

    def _tar(self) -> list[Member]:
        archive = tarfile.open(fileobj=self._file, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        members: list[Member] = []
        for count, entry in enumerate(archive, start=1):
            if entry.size < 0 or archive.offset <= entry.offset:
                raise ValueError("a header that points backwards")
            self._check_count(count)
            if entry.isreg():
                name = entry.name.encode("utf-8", "surrogateescape")
                members.append(Member(name, entry.size, _extractor(archive, entry)))
        self._file.seek(archive.offset)
        if self._file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # where the standard library takes junk for the end
            raise ValueError(f"no header where one should be, at byte {archive.offset:,}")
        return members

    def _check_count(self, count: int) -> None:
        if count > self._max:
            raise LimitExceeded(
                f"{self._name!r} has more than {self._max:,} members; unpack it, or raise ingest.archive_max_members"
            )


def _refuse_overlaps(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Members that share bytes make petabytes of a few megabytes. D. Fifield 2019, "A better zip bomb"."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise ValueError(f"{entry.orig_filename!r} overlaps another member")
        # A local header has 30 bytes, the name, and perhaps more.
        end = entry.header_offset + 30 + len(entry.orig_filename) + entry.compress_size


def _zip_name(entry: zipfile.ZipInfo) -> bytes:
    """Bit 11 says that the name is UTF-8; without, it is code page 437, or UTF-8 by a program that forgot the bit."""
    raw = entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        raw = entry.orig_filename.encode("utf-8")
    return raw.replace(b"\\", b"/")  # as some programs for Windows write it


def _zip_problem(entry: zipfile.ZipInfo) -> LoadError | None:
    if entry.flag_bits & 1:
        return EncryptedFile(f"{entry.orig_filename!r} is protected by a password; unpack the archive with it")
    if entry.compress_type not in _METHODS:
        return UnsupportedMedia(f"{entry.orig_filename!r} is packed by method {entry.compress_type}; use 'deflate'")
    return None


def _opener(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(entry)


def _extractor(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.extractfile(entry) or io.BytesIO()  # None for what is no file, and this one is


def decompressed(path: Path, kind: str) -> Iterator[bytes]:
    """The content of a compressed file in blocks of at most `STEP` bytes. Raises what is in `DAMAGE`."""
    with path.open("rb") as file:
        if kind == "xz":
            yield from _xz(file)
            return
        with gzip.GzipFile(fileobj=file) if kind == "gz" else bz2.BZ2File(file) as stream:
            while block := stream.read(STEP):
                yield block


def _xz(file: IO[bytes]) -> Iterator[bytes]:
    """The standard library's LZMAFile has no limit on memory."""
    data = file.read(STEP)
    while data:
        decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
        while not decoder.eof:
            if decoder.needs_input and not data:
                data = file.read(STEP)
                if not data:
                    raise EOFError("it ends in the middle")
            yield decoder.decompress(data, STEP)
            data = b""
        # Streams may follow one another, with zeros between.
        data = decoder.unused_data.lstrip(b"\0") or file.read(STEP).lstrip(b"\0")

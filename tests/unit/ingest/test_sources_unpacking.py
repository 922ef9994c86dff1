"""Archives: members become tasks; hostile archives are refused before they take memory, disk or time."""

import bz2
import gzip
import io
import json
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from ingest.settings import IngestSettings
from ingest.sources.unpacking import MAX_DEPTH, RATIO_FROM, Unpacked, unpack
from ingest.tasks import Task
from retrieval.errors import CorruptFile, EncryptedFile, FetchError, LimitExceeded, LoadError, UnsupportedMedia

SIDECAR = json.dumps({"metadataAttributes": {"year": 2023, "team": "y"}}).encode()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes], compress: Callable[[bytes], bytes] = bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return compress(buffer.getvalue())


def opened(spool: Path, data: bytes, name: str = "a.zip", **settings: int) -> Unpacked:
    path = spool.parent / name
    path.write_bytes(data)
    task = Task(f"file:///{name}", name, path, len(data), metadata={"team": "x"}, spool=spool)
    return unpack(task, settings=IngestSettings(**settings))


def contents(unpacked: Unpacked) -> dict[str, bytes]:
    return {task.uri: task.path.read_bytes() for task in unpacked.tasks}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", zipped({"a.md": b"A", "d/b.md": b"B"})),
        ("a.tar", tarred({"a.md": b"A", "d/b.md": b"B"})),
        ("a.tgz", tarred({"a.md": b"A", "d/b.md": b"B"}, gzip.compress)),
        ("a.tar.bz2", tarred({"a.md": b"A", "d/b.md": b"B"}, bz2.compress)),
        ("a.tar.xz", tarred({"a.md": b"A", "d/b.md": b"B"}, lzma.compress)),
        ("no-extension", tarred({"a.md": b"A", "d/b.md": b"B"}, lzma.compress)),
    ],
)
def test_members_become_tasks(spool: Path, name: str, data: bytes) -> None:
    """Each with a URI below the archive's, a file of its own in the spool folder, and what the archive was given."""
    found = opened(spool, data, name)
    assert contents(found) == {f"file:///{name}!/a.md": b"A", f"file:///{name}!/d/b.md": b"B"}
    second = found.tasks[1]
    assert (second.name, second.size, second.parent, second.depth) == ("b.md", 1, f"file:///{name}", 1)
    assert second.temporary
    assert second.metadata == {"team": "x"}
    assert sorted(spool.iterdir()) == sorted(task.path for task in found.tasks)


@pytest.mark.parametrize(
    ("name", "data", "inner"),
    [
        ("log.txt.gz", gzip.compress(b"text"), "log.txt"),
        ("log.txt.bz2", bz2.compress(b"text"), "log.txt"),
        ("log.txt.xz", lzma.compress(b"te") + b"\0" * 8 + lzma.compress(b"xt"), "log.txt"),
        ("two.md.gz", gzip.compress(b"te") + gzip.compress(b"xt"), "two.md"),
    ],
)
def test_a_compressed_file_has_one_member(spool: Path, name: str, data: bytes, inner: str) -> None:
    """Named as the file without its last extension; streams that follow one another are one content."""
    assert contents(opened(spool, data, name)) == {f"file:///{name}!/{inner}": b"text"}


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.jar", zipped({"A.class": b"x"}), UnsupportedMedia),
        ("a.zip", zipped({"a.md": b"A"})[:-30], CorruptFile),
        ("a.zip", b"PK\x03\x04", CorruptFile),
        ("a.zip", b"# Text", CorruptFile),
        ("a.zip", b"", CorruptFile),
    ],
)
def test_what_is_no_archive_is_refused(spool: Path, name: str, data: bytes, error: type[Exception]) -> None:
    """A damaged one, a text of that name, a package of a program."""
    with pytest.raises(error, match=name):
        opened(spool, data, name)


def test_names_never_lead_out_of_the_spool_folder(spool: Path) -> None:
    """Absolute paths and `..` are names like others: files are written under names of our own."""
    found = opened(spool, tarred({"../../etc/passwd": b"1", "/etc/shadow": b"2", "a/../../b": b"3"}), "a.tar")
    assert [task.uri for task in found.tasks] == [
        "file:///a.tar!/etc/passwd",
        "file:///a.tar!/etc/shadow",
        "file:///a.tar!/a/b",
    ]
    assert {task.path.parent for task in found.tasks} == {spool}


def test_what_folders_leave_out_archives_leave_out(spool: Path) -> None:
    """Hidden names, rubbish of operating systems, folders."""
    names = ["__MACOSX/._a.md", ".git/config", "d/.hidden.md", "Thumbs.db", "folder/", "kept.md"]
    found = opened(spool, zipped(dict.fromkeys(names, b"x")))
    assert [task.name for task in found.tasks] == ["kept.md"]


def test_links_and_devices_are_left_out(spool: Path) -> None:
    """A link could lead anywhere; a device has no content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"x{kind!r}.md")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert opened(spool, buffer.getvalue(), "a.tar") == Unpacked(())
    link = zipfile.ZipInfo("link.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zip_archive:
        zip_archive.writestr(link, "/etc/passwd")
    assert opened(spool, buffer.getvalue()) == Unpacked(())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_numbered(spool: Path) -> None:
    """None is lost, and the number cannot be part of a name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for text in ("1", "2", "3"):
            archive.writestr("a.md", text)
        archive.writestr("a.md#2", "4")
    assert contents(opened(spool, buffer.getvalue())) == {
        "file:///a.zip!/a.md": b"1",
        "file:///a.zip!/a.md#2": b"2",
        "file:///a.zip!/a.md#3": b"3",
        "file:///a.zip!/a.md%232": b"4",
    }


def test_names_in_any_encoding_make_a_uri(spool: Path) -> None:
    """UTF-8 with and without its flag, code page 437, and bytes that are neither."""
    data = zipped({"grün.md": b"1"})
    flagless = bytearray(data)
    flagless[7] = flagless[data.index(b"PK\x01\x02") + 9] = 0  # bit 11 of the flags in both headers
    assert [task.name for task in opened(spool, bytes(flagless)).tasks] == ["grün.md"]
    old = flagless.replace("ü".encode(), b"\x81\x81")
    assert [task.name for task in opened(spool, bytes(old)).tasks] == ["grüün.md"]
    found = opened(spool, tarred({os.fsdecode(b"bad-\xff.md"): b"1"}), "a.tar")
    assert (found.tasks[0].uri, found.tasks[0].name) == ("file:///a.tar!/bad-%FF.md", "bad-\ufffd.md")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_sidecars_belong_to_their_members(spool: Path, name: str) -> None:
    """Even as the last member. What was given from outside wins; one without a document is a document."""
    members = {"a.md": b"A", "b.md": b"B", "alone.metadata.json": b"{}", "a.md.metadata.json": SIDECAR}
    found = opened(spool, zipped(members) if name == "a.zip" else tarred(members, gzip.compress), name)
    assert {task.name: task.metadata for task in found.tasks} == {
        "a.md": {"team": "x", "year": 2023},
        "b.md": {"team": "x"},
        "alone.metadata.json": {"team": "x"},
    }


def test_a_bad_sidecar_fails_its_member_only(spool: Path) -> None:
    """The error names the sidecar."""
    found = opened(spool, zipped({"a.md": b"A", "a.md.metadata.json": b"[]", "b.md": b"B"}))
    assert [task.name for task in found.tasks] == ["b.md"]
    (problem,) = found.problems
    assert problem.uri == "file:///a.zip!/a.md"
    assert isinstance(problem.error, CorruptFile)
    assert "'a.md.metadata.json'" in str(problem.error)


def test_a_damaged_member_fails_alone(spool: Path) -> None:
    """Its checksum tells; the others are good."""
    data = bytearray(zipped({"a.md": b"A" * 50, "b.md": b"B" * 50}, zipfile.ZIP_STORED))
    data[data.index(b"AAAA")] = 0
    found = opened(spool, bytes(data))
    assert [task.name for task in found.tasks] == ["b.md"]
    assert [(p.name, type(p.error)) for p in found.problems] == [("a.md", CorruptFile)]
    assert len(list(spool.iterdir())) == 1


def test_protected_and_exotic_members_fail_alone(spool: Path) -> None:
    """A password or a rare method of compression is a problem of one member."""
    data = bytearray(zipped({"a.md": b"A", "b.md": b"B", "c.md": b"C"}, zipfile.ZIP_STORED))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    data[first + 8] |= 1  # the flag for encryption
    data[second + 10] = 9  # Deflate64
    found = opened(spool, bytes(data))
    assert [task.name for task in found.tasks] == ["c.md"]
    assert [type(problem.error) for problem in found.problems] == [EncryptedFile, UnsupportedMedia]


def test_a_member_above_the_limit_fails_alone(spool: Path) -> None:
    """By its declared size, before anything of it is unpacked."""
    found = opened(spool, zipped({"big.md": b"x" * 2000, "b.md": b"B"}), max_file_bytes=1999)
    assert [task.name for task in found.tasks] == ["b.md"]
    assert isinstance(found.problems[0].error, LimitExceeded)
    with pytest.raises(LimitExceeded, match="max_file_bytes"):
        opened(spool, gzip.compress(b"x" * 2000), "big.md.gz", max_file_bytes=1999)


def test_a_lying_size_is_found_out(spool: Path) -> None:
    """A member that says 10 bytes and has a million gives neither."""
    data = bytearray(zipped({"a.md": b"x" * 10**6}))
    for header, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(header) + offset, 10)
    found = opened(spool, bytes(data))
    assert [type(problem.error) for problem in found.problems] == [CorruptFile]
    assert not list(spool.iterdir())


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.xz"])
def test_too_many_bytes_are_refused_and_leave_nothing(spool: Path, name: str) -> None:
    """Counted as they come out; what was written before is removed."""
    members = {f"{i}.md": bytes([i]) * 1000 for i in range(10)}
    data = zipped(members) if name == "a.zip" else tarred(members, lzma.compress if name.endswith("xz") else bytes)
    with pytest.raises(LimitExceeded, match=r"more than 9,999 bytes.*archive_max_bytes"):
        opened(spool, data, name, archive_max_bytes=9_999)
    assert not list(spool.iterdir())


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_too_many_members_are_refused(spool: Path, name: str) -> None:
    """Before the first is unpacked."""
    members = {f"{i}.md": b"x" for i in range(11)}
    with pytest.raises(LimitExceeded, match=r"more than 10 members.*archive_max_members"):
        opened(spool, zipped(members) if name == "a.zip" else tarred(members), name, archive_max_members=10)


@pytest.mark.parametrize("name", ["a.zip", "bomb.txt.gz", "bomb.txt.xz"])
def test_bombs_are_refused_by_their_ratio(spool: Path, name: str) -> None:
    """Some kilobytes that unpack to a hundred megabytes do not get to the end."""
    blank = bytes(2**20)
    buffer = io.BytesIO()
    if name == "a.zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.md", "w") as member:
            for _ in range(RATIO_FROM // 2**20 + 1):
                member.write(blank)
    else:
        blank *= RATIO_FROM // 2**20 + 1
        buffer.write(gzip.compress(blank, 6) if name.endswith("gz") else lzma.compress(blank, preset=0))
    with pytest.raises(LimitExceeded, match="250 times its size"):
        opened(spool, buffer.getvalue(), name)
    assert not list(spool.iterdir())


def test_members_that_share_bytes_are_refused(spool: Path) -> None:
    """Ten names for one stretch of the file: unpacked, they would be ten times as much."""
    data = zipped({"a.md": b"text " * 100})
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    directory = data[start:end] * 10
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 10, 10, len(directory), start, 0)
    with pytest.raises(CorruptFile, match="overlaps another member"):
        opened(spool, data[:start] + directory + tail)


def test_archives_in_archives_end(spool: Path) -> None:
    """An archive can hold itself; a few levels are opened."""
    data = zipped({"a.md": b"A"})
    for _ in range(MAX_DEPTH):
        data = zipped({"inner.zip": data})
    unpacked = opened(spool, data)
    for _ in range(MAX_DEPTH - 1):
        unpacked = unpack(unpacked.tasks[0], settings=IngestSettings())
    assert unpacked.tasks[0].uri == "file:///a.zip!/inner.zip!/inner.zip!/inner.zip"
    with pytest.raises(LimitExceeded, match="within 3 others"):
        unpack(unpacked.tasks[0], settings=IngestSettings())


def test_any_damage_is_damage(spool: Path) -> None:
    """Bytes changed at random give members, problems or an error of ours, and leave nothing else behind."""
    random = Random(7)
    members = {f"d/{i}.md": b"hello" * 50 for i in range(3)}
    for good in (zipped(members), tarred(members), tarred(members, gzip.compress), tarred(members, lzma.compress)):
        for _ in range(60):
            data = bytearray(good)
            for _ in range(random.choice((1, 4, 16))):
                data[random.randrange(min(len(data), 1600))] = random.choice((0, 1, 0x80, 0xFF, random.randrange(256)))
            with suppress(LoadError):
                for task in opened(spool, bytes(data)).tasks:
                    task.path.unlink()
            assert not list(spool.iterdir())


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size_in_a_tar_header_does_not_loop(spool: Path, kind: bytes) -> None:
    """CVE-2025-8194: such a header made the standard library read the same place for ever."""
    info = tarfile.TarInfo("a.md")
    info.size, info.type = -1024, kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(CorruptFile):
        opened(spool, tarred({"b.md": b"B" * 600})[:1536] + bytes(header) + bytes(1024), "a.tar")


def test_a_giant_header_in_a_tar_archive_is_refused(spool: Path) -> None:
    """What it asks for is not read into memory."""
    info = tarfile.TarInfo("a.md")
    info.size, info.type = 40 * 2**20, tarfile.XHDTYPE
    path = spool.parent / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(info.size + 2048)
    with pytest.raises(CorruptFile, match="header of more than"):
        unpack(Task("file:///a.tar", "a.tar", path, 1, spool=spool), settings=IngestSettings())


@pytest.mark.parametrize("cut", [700, 1100, 2100])
def test_a_damaged_tar_archive_is_no_short_one(spool: Path, cut: int) -> None:
    """Where members are missing, the archive fails as a whole: nothing is lost in silence."""
    data = bytearray(tarred({"a.md": b"A" * 600, "b.md": b"B" * 600}))
    data[cut - 600 if cut == 2100 else cut :] = b"junk" * 200 if cut == 2100 else b""
    with pytest.raises(CorruptFile, match="damaged archive"):
        opened(spool, bytes(data), "a.tar")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt.gz", gzip.compress(b"text" * 1000)[:-5]),
        ("a.txt.gz", gzip.compress(b"text")[:8] + b"junk"),
        ("a.txt.bz2", bz2.compress(b"text" * 1000)[:-5]),
        ("a.txt.xz", lzma.compress(b"text" * 1000)[:-5]),
        ("a.txt.xz", lzma.compress(b"text") + b"junk"),
    ],
)
def test_a_damaged_compressed_file_is_refused(spool: Path, name: str, data: bytes) -> None:
    """What came out before the damage is removed."""
    with pytest.raises(CorruptFile, match="get a fresh copy"):
        opened(spool, data, name)
    assert not list(spool.iterdir())


def test_xz_may_not_ask_for_much_memory(spool: Path) -> None:
    """A dictionary of a gigabyte is in no honest file of some bytes."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**30}]
    encoder = lzma.LZMACompressor(filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}])
    data = bytearray(encoder.compress(b"text") + encoder.flush())
    size = (data[12] + 1) * 4  # of the block's header: its dictionary size is one byte, then padding and a checksum
    position = data.index(bytes([0x21, 0x01]), 12) + 2
    data[position] = lzma._encode_filter_properties(filters[0])[0]  # type: ignore[attr-defined]
    struct.pack_into("<I", data, 12 + size - 4, zlib.crc32(bytes(data[12 : 12 + size - 4])))
    with pytest.raises(CorruptFile, match=r"[Mm]emory"):
        opened(spool, bytes(data), "a.txt.xz")


def test_a_full_disk_is_not_the_archives_fault(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again may help, and says so by its kind."""

    def full(descriptor: int, block: bytes) -> int:
        raise OSError(28, "No space left on device")

    data = zipped({"a.md": b"A"})
    (spool.parent / "a.zip").write_bytes(data)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FetchError, match="no space left"):
        unpack(Task("file:///a.zip", "a.zip", spool.parent / "a.zip", 1, spool=spool), settings=IngestSettings())
    assert not list(spool.iterdir())


def test_without_a_spool_folder_nothing_is_unpacked(tmp_path: Path) -> None:
    """For callers that take no archives."""
    with pytest.raises(LimitExceeded, match="archive where none may be"):
        unpack(Task("file:///a.zip", "a.zip", tmp_path, 1), settings=IngestSettings())

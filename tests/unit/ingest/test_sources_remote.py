"""Places that fsspec reaches, by its file system in memory, and standard input."""

import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from ingest.settings import IngestSettings
from ingest.sources import Source, discover
from retrieval.errors import CorruptFile, FetchError, InvalidRequest, LimitExceeded, MissingExtra, SourceNotFound


@pytest.fixture
def memory() -> Iterator[Any]:
    """An empty file system, in this process only."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def found(*arguments: str) -> list[Source]:
    return list(discover(arguments))


def test_files_below_a_folder_come_by_name(memory: Any, tmp_path: Path) -> None:
    """Hidden ones, and what only begins alike, are left out."""
    for name in ("/docs/b.md", "/docs/a/c d.md", "/docs/.git/x", "/docs-old/x.md"):
        memory.pipe(name, name.encode())
    sources = discover(["memory://docs/"])
    assert sources.roots == ("memory://docs",)
    assert [source.uri for source in sources] == ["memory://docs/a/c%20d.md", "memory://docs/b.md"]
    fetched = sources.fetch(next(iter(sources)), tmp_path)
    assert (fetched.path.read_bytes(), fetched.temporary) == (b"/docs/a/c d.md", True)


@pytest.mark.parametrize("name", ["100%.md", "a#b.md", "grün.md"])
def test_any_name_makes_a_uri_and_back(memory: Any, tmp_path: Path, name: str) -> None:
    """The URI names the file, as an argument too."""
    memory.pipe(f"/docs/{name}", b"text")
    (source,) = found("memory://docs")
    (again,) = sources = discover([source.uri])
    assert again.uri == source.uri
    assert sources.fetch(again, tmp_path).path.read_bytes() == b"text"


def test_sidecars_belong_to_their_files(memory: Any, tmp_path: Path) -> None:
    """Below a folder and for a single file."""
    memory.pipe("/docs/a.md", b"text")
    memory.pipe("/docs/a.md.metadata.json", json.dumps({"metadataAttributes": {"year": 2023}}).encode())
    for argument in ("memory://docs", "memory://docs/a.md"):
        (source,) = sources = discover([argument])
        assert sources.fetch(source, tmp_path).metadata == {"year": 2023}
    memory.pipe("/docs/a.md.metadata.json", b"[]")
    with pytest.raises(CorruptFile, match=r"a\.md\.metadata\.json"):
        sources.fetch(source, tmp_path)


def test_an_old_file_has_a_validator_and_a_fresh_one_has_none(memory: Any) -> None:
    """A time of just now does not tell whether the file changes again in the same moment."""
    memory.pipe("/docs/a.md", b"text")
    assert found("memory://docs")[0].validator == ""
    for days in (1, 2):
        memory.store["/docs/a.md"].created = datetime.now(UTC) - timedelta(days=days)
        (source,) = found("memory://docs")
        assert source.validator
        assert found("memory://docs")[0].validator == source.validator
    memory.pipe("/docs/a.md.metadata.json", b"{}")
    assert found("memory://docs")[0].validator == ""


def test_a_file_above_the_limit_is_cut_off(memory: Any, tmp_path: Path) -> None:
    """By what comes, as drivers do not always know the size."""
    memory.pipe("/docs/a.md", b"x" * 2000)
    (source,) = sources = discover(["memory://docs"], settings=IngestSettings(max_file_bytes=1999))
    with pytest.raises(LimitExceeded, match="max_file_bytes"):
        sources.fetch(source, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_gone_fails_alone(memory: Any, tmp_path: Path) -> None:
    """Deleted between listing and reading."""
    memory.pipe("/docs/a.md", b"text")
    (source,) = sources = discover(["memory://docs"])
    memory.rm("/docs/a.md")
    with pytest.raises(FetchError, match=r"'a\.md' cannot be read"):
        sources.fetch(source, tmp_path)


def test_a_folder_that_cannot_be_listed_is_a_problem_of_all_below(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing in it is taken for deleted."""
    memory.pipe("/docs/a.md", b"text")
    sources = discover(["memory://docs"])

    def broken(*arguments: object, **options: object) -> None:
        raise PermissionError("no access")

    monkeypatch.setattr(type(memory), "find", broken)
    (source,) = sources
    assert (source.uri, source.folder) == ("memory://docs", True)
    assert "no access" in source.problem


def test_arguments_that_name_no_place_are_refused(memory: Any) -> None:
    """Missing, unknown, without a driver, with a password, on top of others."""
    with pytest.raises(SourceNotFound, match="memory://nothing"):
        discover(["memory://nothing"])
    with pytest.raises(InvalidRequest, match="gopher:// is no place that is known"):
        discover(["gopher://host/x"])
    with pytest.raises(InvalidRequest, match="no place of its own"):
        discover(["simplecache://x"])
    with pytest.raises(InvalidRequest, match="names no one place"):
        discover(["memory://a::memory://b"])
    with pytest.raises(InvalidRequest, match="password") as error:
        discover(["memory://me:secret@host/x"])
    assert "secret" not in str(error.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package that has it."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtra, match=r"gs:// sources need another package: .*gcsfs"):
        discover(["gs://bucket/docs"])


# Standard input


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    stream = io.BytesIO(b"# Notes")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    return stream


def test_standard_input_is_one_document(stdin: io.BytesIO, tmp_path: Path) -> None:
    """Known by the name that it is given; it comes once, however often it is named or looked at."""
    sources = discover(["-", "-"], stdin_name="team/grün notes.md")
    assert sources.roots == ("stdin:team/gr%C3%BCn%20notes.md",) * 2
    (source,) = sources
    (source,) = sources
    assert (source.name, source.size, source.validator) == ("grün notes.md", 7, "")
    for _ in range(2):
        assert sources.fetch(source, tmp_path).path.read_bytes() == b"# Notes"
    sources.close()


def test_too_long_an_input_is_not_read_to_its_end(stdin: io.BytesIO, tmp_path: Path) -> None:
    """An endless pipe must not fill the disk."""
    stdin.write(bytes(5 * 2**20))
    stdin.seek(0)
    (source,) = sources = discover(["-"], settings=IngestSettings(max_file_bytes=1000))
    with pytest.raises(LimitExceeded, match="max_file_bytes"):
        sources.fetch(source, tmp_path)
    assert stdin.tell() < 2 * 2**20


def test_standard_input_cannot_be_read_again(tmp_path: Path) -> None:
    """What a former run read by it is gone; a file of that name is a path."""
    with pytest.raises(InvalidRequest, match="pipe it to `-` again"):
        discover(["stdin:notes.md"])
    with pytest.raises(InvalidRequest, match="needs a name"):
        discover(["-"], stdin_name=" ")
    (tmp_path / "-").write_bytes(b"text")
    old = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert [source.name for source in discover(["./-", Path("-")])] == ["-"]
    finally:
        os.chdir(old)


def test_standard_input_that_is_closed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As cron and supervisors may start a command."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidRequest, match="standard input is closed"):
        discover(["-"])


def test_standard_input_that_fails_is_a_failure_of_its_document(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other sources of the run go on."""

    def read(size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=read)))
    (source,) = sources = discover(["-"], stdin_name="a.md")
    with pytest.raises(FetchError, match=r"'a\.md' cannot be read from standard input: input/output error"):
        sources.fetch(source, tmp_path)


@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_name_is_not_the_working_directory(nothing: str) -> None:
    """It is a variable that a script has forgotten to set."""
    with pytest.raises(InvalidRequest, match="variable of your script"):
        discover([nothing])


def test_sources_of_many_kinds_are_one_list(memory: Any, stdin: io.BytesIO, tmp_path: Path) -> None:
    """Each is fetched from where it was found."""
    memory.pipe("/docs/a.md", b"remote")
    (tmp_path / "b.md").write_bytes(b"local")
    sources = discover(["memory://docs", "-", tmp_path / "b.md"])
    assert [sources.fetch(source, tmp_path).path.read_bytes() for source in sources] == [
        b"remote",
        b"# Notes",
        b"local",
    ]

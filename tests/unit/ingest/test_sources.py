"""Discovery and reading of local files."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.sources import Source, content_hash, discover, doc_id_for, read_file, uri_for
from ingest.sources.local import is_skipped
from retrieval.errors import FetchError, LimitExceeded, LoadError, NotFound, SourceNotFound


def names(root: Path | str, *more: Path | str) -> list[str]:
    return [source.name for source in discover([root, *more])]


def read(source: Source, *, max_bytes: int = 10**6) -> bytes:
    """As a run reads it."""
    fetched = discover([]).fetch(source, Path("/nowhere"))  # what is local is not copied
    return read_file(fetched.path, name=source.name, max_bytes=max_bytes)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if everything had been written long ago: the time of the last change of a file cannot be set."""
    monkeypatch.setattr(time, "time_ns", lambda: 4 * 10**18)


def test_a_folder_is_walked_in_the_order_of_names(tmp_path: Path) -> None:
    """Files come depth first, sorted, whatever order the file system gives."""
    for name in ("b/2.md", "b/1.md", "a.md", "c.md", "b/x/0.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert names(tmp_path) == ["a.md", "1.md", "2.md", "0.md", "c.md"]


def test_hidden_and_technical_names_are_skipped_below_a_folder(tmp_path: Path) -> None:
    """What starts with a dot, office locks and caches hold no documents."""
    for name in (".git/config", ".hidden.md", "__pycache__/m.pyc", "~$report.docx", "Thumbs.db", "kept.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert names(tmp_path) == ["kept.md"]


def test_excluded_folders_are_not_entered(tmp_path: Path) -> None:
    """Nor by way of a link: the store's own files are no documents."""
    for name in ("data/default/segment.json", "a.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    exclude = [tmp_path / "data", tmp_path / "absent"]
    assert [source.name for source in discover([tmp_path], exclude=exclude)] == ["a.md"]


def test_hidden_names_are_read_when_named(tmp_path: Path) -> None:
    """Whoever names a hidden file or folder wants it."""
    (tmp_path / ".notes").mkdir()
    (tmp_path / ".notes" / "a.md").write_text("x")
    (tmp_path / ".b.md").write_text("x")
    assert names(tmp_path / ".notes", tmp_path / ".b.md") == ["a.md", ".b.md"]


def test_a_file_that_is_named_twice_comes_once(tmp_path: Path) -> None:
    """Overlapping arguments do not double a document."""
    (tmp_path / "a.md").write_text("x")
    assert names(tmp_path, tmp_path / "a.md", str(tmp_path)) == ["a.md"]


def test_a_missing_path_is_named_before_anything_is_read(tmp_path: Path) -> None:
    """A typing error stops the run at once, even as the last of several arguments."""
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(SourceNotFound, match=r"nowhere\.md.*check the path") as error:
        discover([tmp_path, tmp_path / "nowhere.md"])
    assert isinstance(error.value, NotFound)


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    """A folder that contains a link to itself is entered once."""
    (tmp_path / "a.md").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = list(discover([tmp_path]))
    assert [(s.name, bool(s.problem)) for s in found] == [("a.md", False), ("self", True)]


def test_a_dangling_link_is_a_problem_not_an_end(tmp_path: Path) -> None:
    """The rest of the folder is still found, and reading the link says why it cannot be read."""
    (tmp_path / "a.md").write_text("x")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nothing")
    good, bad = discover([tmp_path])
    assert read(good) == b"x"
    with pytest.raises(LoadError, match=r"gone\.md.*target does not exist"):
        read(bad)


@pytest.mark.timeout(10)
def test_pipes_and_sockets_do_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no regular file is never opened."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited to about 100 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        for source in discover([tmp_path]):
            with pytest.raises(LoadError, match="not a regular file"):
                read(source)


@pytest.mark.timeout(10)
def test_a_file_that_became_a_pipe_does_not_hang(tmp_path: Path) -> None:
    """Between discovery and reading the world may change."""
    path = tmp_path / "a.md"
    path.write_text("x")
    (source,) = discover([path])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LoadError, match="no regular file any more"):
        read(source)


def test_a_file_that_is_gone_is_a_load_error(tmp_path: Path) -> None:
    """A file deleted during the run fails alone."""
    path = tmp_path / "a.md"
    path.write_text("x")
    (source,) = discover([path])
    path.unlink()
    with pytest.raises(LoadError, match=r"'a\.md' cannot be read: no such file"):
        read(source)


def test_a_file_above_the_limit_is_refused_with_both_numbers(tmp_path: Path) -> None:
    """The error says the size, the limit and the setting to change."""
    (tmp_path / "big.md").write_bytes(b"x" * 2000)
    (source,) = discover([tmp_path])
    with pytest.raises(LoadError, match=r"2,000 bytes, the limit is 1,999.*max_file_bytes"):
        read(source, max_bytes=1999)
    assert len(read(source, max_bytes=2000)) == 2000


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        (b"a b.md", "a%20b.md"),
        (b"line\nbreak.md", "line%0Abreak.md"),
        ("grün.md".encode(), "gr%C3%BCn.md"),
        (b"bad-\xff.md", "bad-%FF.md"),
        (b"red-\x1b[31m.md", "red-%1B%5B31m.md"),
        ("\u202egnp.md".encode(), "%E2%80%AEgnp.md"),
        (b"50%.md", "50%25.md"),
        (b"a#b?.md", "a%23b%3F.md"),
    ],
)
def test_any_name_makes_a_valid_uri(tmp_path: Path, name: bytes, quoted: str) -> None:
    """The bytes of a name are percent-encoded; the file can be read and its id computed."""
    (tmp_path / os.fsdecode(name)).write_bytes(b"text")
    (source,) = discover([tmp_path])
    assert source.uri == f"file://{tmp_path}/{quoted}"
    assert read(source) == b"text"
    assert len(doc_id_for(source.uri)) == 16
    source.name.encode("utf-8")  # fit to be shown
    assert source.name.isprintable()


def test_uris_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file has the same URI wherever the command is run."""
    monkeypatch.chdir(tmp_path)
    assert uri_for("x/../a.md") == f"file://{tmp_path}/a.md"


def test_ids_and_hashes_are_stable() -> None:
    """Both are stored; a change of either would make every document new."""
    assert doc_id_for("file:///a.md") == "cdb49b32dd02f365"
    assert content_hash(b"abc").startswith("ba7816bf8f01cfea")


def test_file_uris_are_arguments_too(tmp_path: Path) -> None:
    """Those that a listing shows can be given back; other machines have no files here."""
    path = tmp_path / os.fsdecode(b"a b-\xff.md")
    path.write_text("x")
    (source,) = discover([tmp_path])
    assert list(discover([source.uri])) == [source]
    assert list(discover([source.uri.replace("file://", "FILE://localhost")])) == [source]
    for wrong in ("file://host/a.md", "file://a.md"):
        with pytest.raises(SourceNotFound, match="file:///path"):
            discover([wrong])


def test_roots_name_the_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, and folders without a slash at the end: what is below begins with the root and a slash."""
    (tmp_path / "a.md").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert discover(["./", "a.md", "/"]).roots == (f"file://{tmp_path}", f"file://{tmp_path}/a.md", "file://")


def test_the_home_folder_has_a_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` in a configuration file, where no shell replaces it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.md").write_text("x")
    assert [source.uri for source in discover(["~/a.md"])] == [f"file://{tmp_path}/a.md"]


@pytest.mark.usefixtures("calm")
def test_the_validator_tells_whether_a_file_has_changed(tmp_path: Path) -> None:
    """Other bytes of the same length and with the same times, another file of that name."""
    path = tmp_path / "a.md"
    path.write_text("one")
    os.utime(path, (10**9, 10**9))
    (first,) = discover([path])
    assert next(iter(discover([path]))) == first
    assert discover([]).fetch(first, tmp_path).validator == first.validator
    time.sleep(0.02)  # of the clock of the file system, a few milliseconds
    path.write_text("two")
    os.utime(path, (10**9, 10**9))
    (second,) = discover([path])
    (tmp_path / "b.md").write_text("two")
    os.utime(tmp_path / "b.md", (10**9, 10**9))
    (tmp_path / "b.md").replace(path)
    (third,) = discover([path])
    assert len({first.validator, second.validator, third.validator, ""}) == 4


def test_a_file_that_has_just_changed_has_no_validator(tmp_path: Path) -> None:
    """It may change again in the same tick of the clock; a time that was set by hand makes no difference."""
    path = tmp_path / "a.md"
    path.write_text("x")
    os.utime(path, (10**9, 10**9))
    (source,) = discover([path])
    assert source.validator == ""
    assert discover([]).fetch(source, tmp_path).validator == ""


@pytest.mark.usefixtures("calm")
def test_a_sidecar_is_metadata_and_no_document(tmp_path: Path) -> None:
    """Below a folder, beside a file that is named, and when a shell names both; its changes are changes of the file."""
    (tmp_path / "a.md").write_text("x")
    (bare,) = discover([tmp_path])
    sidecar = tmp_path / "a.md.metadata.json"
    sidecar.write_text('{"metadataAttributes": {"year": 2023}}')
    validators = {bare.validator}
    for arguments in ([tmp_path], [tmp_path / "a.md"], [tmp_path / "a.md", sidecar]):
        (source,) = sources = discover(arguments)
        fetched = sources.fetch(source, tmp_path)
        assert fetched.metadata == {"year": 2023}
        validators |= {source.validator, fetched.validator}
    assert len(validators) == 2
    sidecar.write_text('{"metadataAttributes": {"year": 2024, "new": true}}')
    assert next(iter(discover([tmp_path]))).validator not in validators


@pytest.mark.usefixtures("calm")
def test_a_sidecar_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator that is kept is that of before the reading."""
    (tmp_path / "a.md").write_text("x")
    sidecar = tmp_path / "a.md.metadata.json"
    sidecar.write_text('{"metadataAttributes": {"year": 2023}}')
    (source,) = sources = discover([tmp_path])

    def read_and_change(*arguments: Any, **options: Any) -> bytes:
        data = read_file(*arguments, **options)
        sidecar.write_text('{"metadataAttributes": {"year": 2024, "new": true}}')
        return data

    monkeypatch.setattr("ingest.sources.local.read_file", read_and_change)
    fetched = sources.fetch(source, tmp_path)
    assert fetched.metadata == {"year": 2023}
    assert fetched.validator not in ("", next(iter(sources)).validator)


def test_a_sidecar_without_its_file_is_a_document(tmp_path: Path) -> None:
    """A folder has no sidecar either."""
    (tmp_path / "docs").mkdir()
    for name in ("docs.metadata.json", "gone.md.metadata.json", "metadata.json"):
        (tmp_path / name).write_text("{}")
    assert names(tmp_path) == ["docs.metadata.json", "gone.md.metadata.json", "metadata.json"]
    assert names(tmp_path / "docs.metadata.json") == ["docs.metadata.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"metadataAttributes": {"a": null}}', "x" * (2**20 + 1)])
def test_a_bad_sidecar_fails_its_file(tmp_path: Path, content: str) -> None:
    """Rather than taking the document without the metadata that was meant for it."""
    (tmp_path / "a.md").write_text("x")
    (tmp_path / "a.md.metadata.json").write_text(content)
    (source,) = discover([tmp_path])
    with pytest.raises(LoadError, match=r"'a\.md\.metadata\.json'"):
        read(source)


def test_a_sidecar_that_cannot_be_read_fails_its_file(tmp_path: Path) -> None:
    """A link to nowhere, a folder, a pipe."""
    for kind in ("link", "folder", "pipe"):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "a.md").write_text("x")
        sidecar = folder / "a.md.metadata.json"
        match kind:
            case "link":
                sidecar.symlink_to(tmp_path / "nothing")
            case "folder":
                sidecar.mkdir()
            case _:
                os.mkfifo(sidecar)
        source = next(source for source in discover([folder]) if source.name == "a.md")
        if kind == "folder":
            assert read(source) == b"x"
            continue
        assert source.validator == ""
        with pytest.raises(FetchError, match=r"'a\.md\.metadata\.json' cannot be read"):
            read(source)


def test_a_folder_that_cannot_be_listed_is_a_problem_of_all_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is found, and nothing below that folder may be taken for deleted."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "z.md").write_text("x")
    listed = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    closed, good = discover([tmp_path])
    assert (closed.uri, closed.folder) == (f"file://{tmp_path}/closed", True)
    assert (good.name, good.folder) == ("z.md", False)
    with pytest.raises(FetchError, match="cannot be listed: permission denied"):
        read(closed)


def test_what_was_perhaps_a_folder_is_a_problem_of_all_below(tmp_path: Path) -> None:
    """A link to a share that is not mounted, an argument that vanishes after it was checked."""
    (tmp_path / "share").symlink_to(tmp_path / "not-mounted")
    assert [source.folder for source in discover([tmp_path])] == [True]
    (tmp_path / "docs").mkdir()
    sources = discover([tmp_path / "docs"])
    (tmp_path / "docs").rmdir()
    assert [(source.name, source.folder) for source in sources] == [("docs", True)]


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """1,500 folders in one another, with a file in each hundredth; too deep for pytest to remove."""
    monkeypatch.chdir(tmp_path)
    for level in range(1500):
        if level % 100 == 0:
            Path(f"{level}.md").write_text("x")
        Path("dd").mkdir()
        os.chdir("dd")
    monkeypatch.undo()
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path / "dd"], check=True)


def test_a_tree_deeper_than_pythons_stack_is_walked(deep: Path) -> None:
    """To where the system takes no longer paths; there, it is a problem and no end."""
    found = list(discover([deep]))
    assert len([source for source in found if not source.problem]) >= 13
    assert [source.folder for source in found if source.problem] == [True]


def test_long_names_are_read(tmp_path: Path) -> None:
    """As long as a file system allows; there is no room for a sidecar's name then."""
    name = "x" * 252 + ".md"
    (tmp_path / name).write_text("x")
    for argument in (tmp_path, tmp_path / name):
        (source,) = discover([argument])
        assert (source.name, read(source)) == (name, b"x")


@pytest.mark.timeout(10)
def test_a_file_that_grows_while_it_is_read_is_cut_off(tmp_path: Path) -> None:
    """What was small when it was found, or never ends, is bounded by what is read."""
    with pytest.raises(LimitExceeded, match="the limit is 1,000"):
        read_file(_growing(tmp_path), name="a.log", max_bytes=1_000)
    assert len(read_file(_growing(tmp_path), name="a.log", max_bytes=100_000_000)) >= 4


def _growing(folder: Path) -> Path:
    """The kernel's: files of /proc have the size 0 until they are read."""
    path = Path("/proc/self/maps")
    if path.exists():
        return path
    path = folder / "a.log"
    path.write_text("x" * 2000)
    return path


def test_a_sparse_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    """Its size tells before."""
    with (tmp_path / "a.md").open("wb") as file:
        file.truncate(2**40)
    (source,) = discover([tmp_path])
    begin = time.perf_counter()
    with pytest.raises(LimitExceeded, match="1,099,511,627,776 bytes"):
        read(source)
    assert time.perf_counter() - begin < 1


def test_discovery_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run over what has not changed must not read it."""
    for i in range(3):
        (tmp_path / f"{i}.md").write_text("x")
    monkeypatch.setattr("os.open", None)
    monkeypatch.setattr("builtins.open", None)
    assert names(tmp_path, str(tmp_path / "0.md")) == ["0.md", "1.md", "2.md"]


def test_what_is_skipped_is_told_by_its_name() -> None:
    """For those who watch a folder."""
    assert [name for name in (".git", "~$a.docx", "node_modules", "a.md", "git") if not is_skipped(name)] == [
        "a.md",
        "git",
    ]

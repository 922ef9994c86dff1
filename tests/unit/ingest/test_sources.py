"""Discovery and reading of local files."""

import os
import socket
from pathlib import Path

import pytest

from ingest.sources import content_hash, discover, doc_id_for, read, uri_for
from retrieval.errors import LoadError, NotFound, SourceNotFound


def names(root: Path | str, *more: Path | str) -> list[str]:
    return [source.name for source in discover([root, *more])]


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


def test_uris_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file has the same URI wherever the command is run."""
    monkeypatch.chdir(tmp_path)
    assert uri_for("x/../a.md") == f"file://{tmp_path}/a.md"


def test_ids_and_hashes_are_stable() -> None:
    """Both are stored; a change of either would make every document new."""
    assert doc_id_for("file:///a.md") == "cdb49b32dd02f365"
    assert content_hash(b"abc").startswith("ba7816bf8f01cfea")

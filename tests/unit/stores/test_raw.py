"""Looking for bytes in files, whatever block they lie in and however they are spelled."""

from pathlib import Path

import pytest

from retrieval.errors import InvalidRequest
from retrieval.stores import raw


@pytest.mark.parametrize("offset", [0, 5, 6, 7, 8, 9, 10, 11, 15, 16, 990])
def test_a_needle_is_found_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    """Also across the border of two blocks, and at either end."""
    monkeypatch.setattr(raw, "_BLOCK", 8)
    path = tmp_path / "file"
    path.write_bytes(b"." * offset + b"needle" + b"." * (994 - offset))
    assert raw.file_holds(path, [b"nothing", b"needle"])
    assert not raw.file_holds(path, [b"needles", b"longer than one block is"])


def test_a_needle_longer_than_a_block_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before is kept as long as it may be needed."""
    monkeypatch.setattr(raw, "_BLOCK", 4)
    path = tmp_path / "file"
    path.write_bytes(b"xx0123456789abcdefghijyy")
    assert raw.file_holds(path, [b"0123456789abcdefghij"])


def test_a_single_byte_is_found(tmp_path: Path) -> None:
    """It cannot lie across a border, and nothing is kept for it."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert raw.file_holds(path, [b"c"])
    assert not raw.file_holds(path, [b"d"])
    assert not raw.file_holds(path, [])


def test_text_is_looked_for_as_json_writes_it() -> None:
    """With quotes and line breaks escaped, and with other letters escaped or not."""
    found = raw.spellings(['a "b"\né'.encode(), b"\xff\x00"])
    assert found == ['a "b"\né'.encode(), b'a \\"b\\"\\n\\u00e9', 'a \\"b\\"\\né'.encode(), b"\xff\x00"]


def test_an_empty_needle_is_refused() -> None:
    """It is in every file."""
    with pytest.raises(InvalidRequest, match="empty"):
        raw.spellings([b"x", b""])

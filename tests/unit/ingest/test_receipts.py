"""The chain of receipts: what is written stays, and what is changed afterwards is found."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.deletion.receipts import Chain
from retrieval.errors import InvalidRequest, NotFound, StoreCorrupt, StoreUnavailable, WriterBusy


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """Two deletions, both done."""
    made = Chain(tmp_path, "c")
    with made.locked():
        for name in ("a", "b"):
            intent = made.append("intent", {"documents": [name]})
            made.append("receipt", {"documents": [name], "intent": intent.sequence, "complete": True})
    return made


def test_a_chain_that_nobody_touched_is_sound(chain: Chain) -> None:
    """Four lines, two receipts, nothing open; the head is the hash of the last line."""
    found = chain.verify()
    assert (found.sound, found.entries, found.receipts, found.open, found.line) == (True, 4, 2, (), 0)
    assert found.head == json.loads(chain.path.read_text().splitlines()[-1])["sha256"]


def change_a_name(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace('"a"', '"x"'), *lines[2:]]


def change_a_name_and_its_hash(lines: list[str]) -> list[str]:
    fields = {**json.loads(lines[1]), "documents": ["x"]}
    del fields["sha256"]
    fields["sha256"] = hashlib.sha256(spelled(fields).encode()).hexdigest()
    return [lines[0], spelled(fields) + "\n", *lines[2:]]


def spelled(fields: dict[str, object]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("change", "line", "problem"),
    [
        (change_a_name, 2, "does not give its sha256"),
        (change_a_name_and_its_hash, 3, "does not follow the line before"),
        (lambda lines: [lines[0], *lines[2:]], 2, "lines were removed or moved"),
        (lambda lines: lines[1:], 1, "lines were removed or moved"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2, "lines were removed or moved"),
        (lambda lines: [*lines, lines[3]], 5, "lines were removed or moved"),
        (lambda lines: [*lines[:3], lines[3].replace(":", ": ", 1)], 4, "not spelled as it was written"),
        (lambda lines: [*lines[:3], '{"kind":"receipt","kind":"intent"}\n'], 4, "not spelled as it was written"),
        (lambda lines: [*lines[:3], "\n"], 4, "no JSON"),
        (lambda lines: [*lines[:3], "[" * 100_000 + "\n"], 4, "no JSON"),
        (lambda lines: [*lines[:3], '{"kind":NaN}\n'], 4, "no JSON"),
        (lambda lines: [*lines[:3], '"receipt"\n'], 4, "neither an intent nor a receipt"),
        (lambda lines: [*lines[:3], lines[3][:-10]], 4, "cut off"),
    ],
)
def test_the_first_line_that_was_touched_is_named(
    chain: Chain, change: Callable[[list[str]], list[str]], line: int, problem: str
) -> None:
    """Whatever was changed, removed, added or moved, and with its own hash mended as well."""
    chain.path.write_text("".join(change(chain.path.read_text().splitlines(keepends=True))))
    found = chain.verify()
    assert not found.sound
    assert found.line == line
    assert problem in found.problem


def test_a_missing_end_shows_only_to_who_kept_its_hash(chain: Chain) -> None:
    """The file alone cannot tell; the hash of the last line, noted elsewhere, can."""
    head = chain.verify().head
    assert chain.verify(held=head.upper()).sound
    lines = chain.path.read_text().splitlines(keepends=True)
    chain.path.write_text("".join(lines[:2]))
    assert chain.verify().sound
    assert chain.verify(held=head).held is False
    assert not chain.verify(held=head[:16]).sound
    with pytest.raises(InvalidRequest, match="'abc' is no SHA-256"):
        chain.verify(held="abc")


def test_a_line_cut_off_while_it_was_written_is_replaced_by_the_next(chain: Chain) -> None:
    """A crash within a write leaves no trace that breaks the chain."""
    whole = chain.path.read_bytes()
    for cut in (b'{"kind":"int', b"x" * 200_000):
        chain.path.write_bytes(whole + cut)
        with chain.locked():
            assert chain.open_intents() == []
            chain.append("intent", {})
        assert chain.path.read_bytes().startswith(whole)
        assert chain.verify().sound
        chain.path.write_bytes(whole)


def test_nothing_is_added_to_a_broken_chain(chain: Chain) -> None:
    """The error names the line and what to do."""
    text = chain.path.read_text().replace('"a"', '"x"', 1)
    chain.path.write_text(text)
    with chain.locked(), pytest.raises(StoreCorrupt, match=r"line 1: .*move this file away"):
        chain.append("intent", {})
    assert chain.path.read_text() == text


def test_a_full_disk_leaves_the_chain_as_it_was(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line is taken back."""
    before, write = chain.path.read_bytes(), os.write

    def half(descriptor: int, data: bytes) -> int:
        if data.startswith(b"{"):
            return write(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with chain.locked(), pytest.raises(StoreUnavailable, match="No space left"):
        chain.append("intent", {"documents": []})
    assert chain.path.read_bytes() == before


def test_an_intent_without_a_complete_receipt_is_open(chain: Chain) -> None:
    """It says what a run that was cut off had begun, or could not finish."""
    with chain.locked():
        entry = chain.append("intent", {"documents": ["c"]})
        chain.append("receipt", {"intent": entry.sequence, "complete": False})
        assert chain.open_intents() == [entry]
        assert chain.verify().open == (5,)
        chain.append("receipt", {"intent": entry.sequence, "complete": True})
    assert chain.verify().open == ()


def test_deleters_take_turns(tmp_path: Path) -> None:
    """Many at once give one chain without gaps; who waits too long is told so."""

    def delete(i: int) -> None:
        chain = Chain(tmp_path, "c")
        with chain.locked():
            intent = chain.append("intent", {"documents": [i]})
            chain.append("receipt", {"intent": intent.sequence, "complete": True})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(delete, range(24)))
    chain = Chain(tmp_path, "c")
    assert (chain.verify().sound, chain.verify().entries, chain.verify().open) == (True, 48, ())
    with chain.locked(), pytest.raises(WriterBusy, match="another process is deleting"), Chain(tmp_path, "c").locked(0):
        pass


def test_a_line_survives_any_text(tmp_path: Path) -> None:
    """Line separators, surrogates of a user's name, and signs beyond ASCII."""
    chain = Chain(tmp_path, "c")
    content = {"user": "j\udcff", "uri": "file:///a\u2028b\n\u00fc\U0001f600"}
    with chain.locked():
        chain.append("intent", content)
    assert chain.entries()[0].content == content
    assert chain.verify().sound


def test_without_a_file_there_is_nothing_to_verify(tmp_path: Path) -> None:
    """A missing file is an error, not a sound chain of no lines."""
    with pytest.raises(NotFound, match="no receipts in"):
        Chain(tmp_path, "c").verify()
    assert Chain(tmp_path, "c").open_intents() == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before anything is deleted."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreUnavailable, match=r"receipts cannot be kept in .*ingest\.receipts_path"),
        Chain(tmp_path / "file", "c").locked(),
    ):
        pass

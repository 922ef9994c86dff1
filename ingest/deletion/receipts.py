"""What was deleted, when, by whom and with what proof: a file of JSON lines, each bound to the one before by its hash.

Every line is a JSON object in one spelling (keys sorted, no blanks, ASCII only) with

    sequence   from 1, without gaps
    kind       'intent' before a deletion, 'receipt' after it: its field `intent` has the sequence of the first, and
               `complete` is false when something is left to do, which another receipt will tell of
    previous   `sha256` of the line before; 64 zeros in the first
    sha256     SHA-256 of the line without this field

so that a line which is changed, removed, added or moved afterwards breaks the chain. Who can write the file can also
write all of it anew, or leave off its end: keep the hash of the last line elsewhere, and `verify` tells whether the
chain still holds it. The lines say what was deleted, never what it said.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from retrieval.errors import InvalidRequest, NotFound, StoreCorrupt, StoreUnavailable, WriterBusy

FOLDER = "_receipts"
"""Below `retrieval.path`, where no collection can have this name."""

_FIRST = "0" * 64
_BLOCK = 1 << 16
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HASH = re.compile(r"[0-9a-fA-F]{16,64}")
_LOOK_AGAIN = 0.1
"""Seconds."""

Kind = Literal["intent", "receipt"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a chain."""

    sequence: int
    kind: Kind
    content: Mapping[str, Any]
    """All that is neither about the chain nor the hash."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a chain looks like when every line of it is read."""

    entries: int
    receipts: int
    head: str
    """`sha256` of the last sound line; empty when there is none."""
    open: tuple[int, ...]
    """Intents of deletions that were cut off, or are going on."""
    line: int = 0
    """The first that is not sound, from 1; 0 when all are."""
    problem: str = ""
    """What is wrong with it."""
    held: bool | None = None
    """Whether the hash that was asked for is in the chain; None when none was."""

    @property
    def sound(self) -> bool:
        """Whether nothing was changed, as far as the file itself can tell."""
        return not self.problem and self.held is not False


class Chain:
    """The receipts of one collection, in `folder`. Changes need `locked`."""

    def __init__(self, folder: Path, collection: str) -> None:
        if not _NAME.fullmatch(collection):
            raise InvalidRequest(f"{collection!r} cannot be the name of a collection")
        self.path = folder / f"{collection}.jsonl"
        self._locked = False

    @contextmanager
    def locked(self, wait: float = 60.0) -> Iterator[None]:
        """Keep other processes of this machine from deleting meanwhile: they would take our intent for one cut off.

        Raises WriterBusy when another keeps its turn for more than `wait` seconds, StoreUnavailable when the folder
        cannot be written.
        """
        with _translated(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(handle, time.monotonic() + wait)
            with _translated(self.path):
                self._remove_torn_end()
            self._locked = True
            yield
        finally:
            self._locked = False
            os.close(handle)

    def append(self, kind: Kind, content: Mapping[str, Any]) -> Entry:
        """Write the next line; it is on the disk when this returns. Raises StoreCorrupt when the last is not sound."""
        if not self._locked:
            raise RuntimeError("append needs the lock: use it within `locked`")
        last = self._last()
        fields = {
            **content,
            "kind": kind,
            "sequence": last.sequence + 1 if last else 1,
            "previous": last.sha256 if last else _FIRST,
        }
        fields["sha256"] = _digest(fields)
        line = _spelled(fields) + b"\n"
        with _translated(self.path):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, line)
            finally:
                os.close(descriptor)
            _sync_folder(self.path.parent)
        return _entry(json.loads(line))

    def entries(self) -> list[Entry]:
        """All lines, oldest first. Raises StoreCorrupt at one that is not sound, naming it; NotFound without a file."""
        found = []
        for number, entry in self._read():
            if isinstance(entry, str):
                raise StoreCorrupt(
                    f"{self.path}, line {number}: {entry}; `footnote receipts verify` says more. To begin another "
                    "chain, move this file away and keep it"
                )
            found.append(entry)
        return found

    def open_intents(self) -> list[Entry]:
        """Intents without a receipt that says it is complete, oldest first; none when there is no file."""
        try:
            entries = self.entries()
        except NotFound:
            return []
        return _open(entries)

    def verify(self, held: str = "") -> Verification:
        """Read every line and compare; with `held`, whether a line has a hash that begins so.

        Raises NotFound without a file, InvalidRequest when `held` cannot be a hash.
        """
        if held and not _HASH.fullmatch(held):
            raise InvalidRequest(f"{held!r} is no SHA-256: give 16 to 64 hex digits of the hash that you have noted")
        sound: list[Entry] = []
        line, problem = 0, ""
        for number, entry in self._read():
            if isinstance(entry, str):
                line, problem = number, entry
                break
            sound.append(entry)
        return Verification(
            entries=len(sound),
            receipts=sum(entry.kind == "receipt" for entry in sound),
            head=sound[-1].sha256 if sound else "",
            open=tuple(entry.sequence for entry in _open(sound)),
            line=line,
            problem=problem,
            held=any(entry.sha256.startswith(held.lower()) for entry in sound) if held else None,
        )

    def _read(self) -> Iterator[tuple[int, Entry | str]]:
        """Each line's number and what it holds; of the first that is not sound what is wrong, and then no more."""
        if not self.path.is_file():
            raise NotFound(f"no receipts in {self.path}: nothing was deleted yet, or the file is elsewhere")
        expected, previous = 1, _FIRST
        with _translated(self.path), self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                found = _parsed(line, expected, previous)
                yield number, found
                if isinstance(found, str):
                    return
                expected, previous = expected + 1, found.sha256

    def _last(self) -> Entry | None:
        """The last line; the whole file is read, since what is added to a broken chain proves nothing."""
        try:
            return next(reversed(self.entries()), None)
        except NotFound:
            return None

    def _wait_for(self, handle: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise WriterBusy(
                        f"another process is deleting from collection {self.path.stem!r} (it holds "
                        f"{self.path.with_suffix('.lock')}); wait for it, then try again"
                    ) from None
                time.sleep(_LOOK_AGAIN)
            else:
                return

    def _remove_torn_end(self) -> None:
        """Cut off what a process that ended while writing has left: nobody was told that it is there."""
        if not self.path.is_file():
            return
        with self.path.open("r+b") as file:
            kept = size = file.seek(0, os.SEEK_END)
            while kept > 0:
                begin = max(0, kept - _BLOCK)
                file.seek(begin)
                newline = file.read(kept - begin).rfind(b"\n")
                if newline >= 0:
                    kept = begin + newline + 1
                    break
                kept = begin
            if kept < size:
                file.truncate(kept)
                file.flush()
                os.fsync(file.fileno())


def _open(entries: Sequence[Entry]) -> list[Entry]:
    done = {
        entry.content.get("intent") for entry in entries if entry.kind == "receipt" and entry.content.get("complete")
    }
    return [entry for entry in entries if entry.kind == "intent" and entry.sequence not in done]


def _parsed(line: bytes, sequence: int, previous: str) -> Entry | str:
    """The entry of a line that must have this number and follow this hash, or what is wrong with it."""
    if not line.endswith(b"\n"):
        return "it is cut off"
    try:
        fields = json.loads(line)
        spelled = _spelled(fields)
    except (ValueError, RecursionError):
        return "it is no JSON"
    if not isinstance(fields, dict) or fields.get("kind") not in ("intent", "receipt"):
        return "it is neither an intent nor a receipt"
    problems = {
        "it is not spelled as it was written": spelled + b"\n" != line,
        "its content does not give its sha256: it was changed": fields.get("sha256") != _digest(fields),
        f"it has sequence {fields.get('sequence')!r} where {sequence} should be: lines were removed or moved": (
            fields.get("sequence") != sequence
        ),
        "it does not follow the line before: that one was exchanged": fields.get("previous") != previous,
    }
    return next((problem for problem, is_so in problems.items() if is_so), None) or _entry(fields)


def _entry(fields: Mapping[str, Any]) -> Entry:
    own = {"sequence", "kind", "previous", "sha256"}
    content = {name: value for name, value in fields.items() if name not in own}
    return Entry(fields["sequence"], fields["kind"], content, fields["sha256"])


def _spelled(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(_spelled({name: value for name, value in fields.items() if name != "sha256"})).hexdigest()


def _write(descriptor: int, line: bytes) -> None:
    """All of the line, on the disk, or nothing of it."""
    before = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _sync_folder(folder: Path) -> None:
    """So that the file's name is on the disk as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(
            f"receipts cannot be kept in {path}: {exc.strerror}; check the disk and permissions, or set "
            "ingest.receipts_path"
        ) from exc

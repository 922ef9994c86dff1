"""Looking for bytes where no index leads: in files and in whatever a store has written."""

import json
from collections.abc import Sequence
from pathlib import Path

from retrieval.errors import InvalidRequest

_BLOCK = 4 << 20


def spellings(needles: Sequence[bytes]) -> list[bytes]:
    """The needles and, of those that are text, how JSON writes them. Raises InvalidRequest for an empty one."""
    found: dict[bytes, None] = {}
    for needle in needles:
        if not needle:
            raise InvalidRequest("an empty needle is found everywhere; give at least one byte to look for")
        found[needle] = None
        try:
            text = needle.decode("utf-8")
        except UnicodeDecodeError:
            continue
        for ascii_only in (True, False):
            found[json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8")] = None
    return list(found)


def holds(data: bytes, needles: Sequence[bytes]) -> bool:
    """Whether one of `needles` is in `data`."""
    return any(needle in data for needle in needles)


def file_holds(path: Path, needles: Sequence[bytes]) -> bool:
    """Whether one of `needles` is in a file, read block by block; what lies across two blocks is found, too."""
    overlap = max(map(len, needles), default=1) - 1
    with path.open("rb") as file:
        before = b""
        while block := file.read(_BLOCK):
            data = before + block
            if holds(data, needles):
                return True
            before = data[max(0, len(data) - overlap) :]
    return False

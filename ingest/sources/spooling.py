"""Copies of content that is no local file, under names of our own, within a limit of bytes."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from retrieval.errors import FetchError


def write(blocks: Iterable[bytes], spool: Path, *, name: str) -> tuple[Path, int]:
    """Write `blocks` to a file of its own in folder `spool`; its path and size. What `blocks` raises leaves no file.

    Raises FetchError when the disk does not take it.
    """
    size = 0
    try:
        descriptor, path = tempfile.mkstemp(dir=spool, prefix="spool-")
    except OSError as exc:
        raise _unwritable(name, exc) from exc
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for block in blocks:
                size += len(block)
                _write_all(file.fileno(), block, name)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    return Path(path), size


def _write_all(descriptor: int, block: bytes, name: str) -> None:
    view = memoryview(block)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except OSError as exc:
            raise _unwritable(name, exc) from exc


def _unwritable(name: str, exc: OSError) -> FetchError:
    reason = (exc.strerror or type(exc).__name__).lower()
    return FetchError(
        f"{name!r} cannot be copied into the folder for temporary files: {reason}; make room and try again"
    )

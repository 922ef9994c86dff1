"""Folders for copies of what was fetched or unpacked; those of runs that were killed are cleared away by the next one.

A folder is in use as long as its lock file is locked, which ends with the process, however it ends.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "footnote-spool-"
_LOCK = ".lock"
_YOUNG_SECONDS = 60.0
"""A folder that young may be about to get its lock."""


@contextmanager
def spool() -> Iterator[Path]:
    """A folder of this run's own below the system's temporary one; it is gone in the end."""
    clear()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def clear() -> None:
    """Remove folders that runs which were killed have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            info = folder.lstat()
            if info.st_uid == os.getuid() and time.time() - info.st_mtime > _YOUNG_SECONDS and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    """Whether no process works in it any more."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True

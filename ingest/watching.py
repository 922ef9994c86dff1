"""Keeping a collection in line with its sources: a sync when something has changed, and every so often in any case.

Folders of this machine tell when something changes in them. Files that are named one by one are looked at every moment,
since an editor puts another file in their place. Buckets and pages tell nothing: they wait for the sync of everything,
which also makes up for what the system has not told, as on network drives.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ingest.sources.identity import absolute, path_for, scheme_of
from ingest.sources.local import is_skipped
from retrieval.errors import FootnoteError, InvalidRequest

QUIET_SECONDS = 1.6
"""A sync begins when nothing has changed for so long: files are often written in several steps."""
_LONGEST_SECONDS = 15.0
"""But it waits no longer than this, if something keeps changing."""
_AGAIN_SECONDS = 30.0
"""After a sync that failed."""

_State = tuple[int, ...]
"""What tells two looks at a path apart; empty when there is nothing."""


def _ignore(problem: str) -> None:
    """For callers that do not watch."""


def watch(
    arguments: Sequence[str],
    *,
    sync: Callable[[Sequence[str]], None],
    poll_seconds: float,
    exclude: Sequence[Path] = (),
    stop: threading.Event | None = None,
    quiet: float = QUIET_SECONDS,
    on_problem: Callable[[str], None] = _ignore,
) -> None:
    """Call `sync` with all `arguments`, then with those that have changed, and with all every `poll_seconds`.

    Ends when `stop` is set, or by Ctrl-C. Folders of `exclude` may change as they like. What the first sync raises,
    this raises; later, `on_problem` hears of a FootnoteError, and the sync is tried again. A folder that disappears is
    left alone until it is there again. Raises InvalidRequest for what can be read only once.
    """
    if "-" in arguments:
        raise InvalidRequest("`-` can be read only once: name files, folders or URIs to watch")
    _Watch(arguments, sync, poll_seconds, exclude, stop or threading.Event(), quiet, on_problem).run()


class _Watch:
    def __init__(
        self,
        arguments: Sequence[str],
        sync: Callable[[Sequence[str]], None],
        poll_seconds: float,
        exclude: Sequence[Path],
        stop: threading.Event,
        quiet: float,
        on_problem: Callable[[str], None],
    ) -> None:
        self._arguments = arguments
        self._sync = sync
        self._poll_seconds = poll_seconds
        self._exclude = [os.path.realpath(folder) for folder in exclude]
        self._stop = stop
        self._quiet = quiet
        self._on_problem = on_problem
        self._paths = {argument: _path(argument) for argument in arguments if scheme_of(argument) in ("", "file")}
        self._states = {argument: _state(path) for argument, path in self._paths.items()}
        self._due = set(arguments)
        self._all_at = time.monotonic() + poll_seconds
        self._not_before = 0.0
        self._first = True

    def run(self) -> None:
        while not self._stop.is_set():
            folders = {argument: path for argument, path in self._paths.items() if path.is_dir()}
            # What is due is done when the folders are being watched already: no change falls between.
            for changed in self._changes(sorted({str(path) for path in folders.values()})):
                self._due.update(argument for argument in folders if self._concerns(changed, folders[argument]))
                if self._look():
                    break
                self._sync_due()
                if self._stop.is_set():
                    return

    def _changes(self, folders: Sequence[str]) -> Iterator[set[str]]:
        """Paths that have changed since the last time, again and again; none of them when it is only time to look."""
        if folders:
            # It brings a library of its own, which only who watches needs.
            import watchfiles  # noqa: PLC0415

            milliseconds = round(self._quiet * 1000)
            try:
                told = watchfiles.watch(
                    *folders, watch_filter=None, debounce=round(_LONGEST_SECONDS * 1000), step=milliseconds,
                    rust_timeout=milliseconds, yield_on_timeout=True, stop_event=self._stop,
                    ignore_permission_denied=True,
                )  # fmt: skip
                for changes in told:
                    yield {path for _, path in changes}
            except (OSError, RuntimeError, ValueError) as exc:  # too many folders, gone meanwhile, a name of odd bytes
                named = ", ".join(folders)
                self._on_problem(f"changes in {named} are not told ({exc}); looking every {self._poll_seconds:g} s")
            else:
                return
        while not self._stop.wait(self._quiet):
            yield set()

    def _concerns(self, changed: set[str], folder: Path) -> bool:
        return any(self._is_below(path, str(folder)) for path in changed)

    def _is_below(self, path: str, folder: str) -> bool:
        """Whether a change of `path` can matter to the documents in `folder`."""
        if path == folder:
            return True
        if not path.startswith(folder.rstrip("/") + "/"):
            return False
        if any(map(is_skipped, os.path.relpath(path, folder).split("/"))):
            return False
        real = os.path.realpath(path)
        return not any(real == own or real.startswith(own + "/") for own in self._exclude)

    def _look(self) -> bool:
        """Look at what was named itself; whether a folder is another one now, which has to be watched anew."""
        anew = False
        for argument, path in self._paths.items():
            state, before = _state(path), self._states[argument]
            if state == before:
                continue
            self._states[argument] = state
            self._due.add(argument)
            anew = anew or path.is_dir() or not state
            if not state:
                self._on_problem(f"{str(path)!r} is not there any more; waiting for it to come back")
        return anew

    def _sync_due(self) -> None:
        now = time.monotonic()
        if now >= self._all_at:
            self._due.update(self._arguments)
            self._all_at = now + self._poll_seconds
        due = [argument for argument in self._arguments if argument in self._due and self._is_there(argument)]
        if not due or now < self._not_before:
            return
        self._due.clear()
        try:
            self._sync(due)
        except FootnoteError as exc:
            if self._first:
                raise
            self._due.update(due)
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            self._on_problem(f"{exc}; trying again in {_AGAIN_SECONDS:g} s")
        self._first = False

    def _is_there(self, argument: str) -> bool:
        return self._first or argument not in self._paths or bool(self._states[argument])


def _path(argument: str) -> Path:
    return path_for(argument) if scheme_of(argument) else absolute(argument)


def _state(path: Path) -> _State:
    """Of a folder, which one it is; of a file, its content too."""
    try:
        info = path.stat()
    except OSError:
        return ()
    if path.is_dir():
        return info.st_dev, info.st_ino
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns

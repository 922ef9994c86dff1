"""One worker process and its limits: started when needed, watched while it reads, replaced when it fails or swells."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.engines.channel import ChannelClosed, MoreTime, OutOfMemory, Ready, Silence, receive, send
from ingest.indexing import Cutter
from ingest.loaders import MESSAGES
from ingest.preparation import failed
from ingest.settings import IngestSettings
from ingest.tasks import Outcome, Task
from retrieval.errors import FootnoteError, LimitExceeded, LoadError, WorkerDied
from retrieval.records import SourceRecord

_START_SECONDS = 60.0
"""Until a worker has imported what it needs, on a machine that is busy."""
_STARTS = 3
"""Tries to start a worker: one may be killed by chance."""
_TASKS = 1_000
"""Files after which a worker is replaced: whatever a parser leaks has an end."""
_SWOLLEN = 4
"""A worker that keeps this part of its memory limit after a file is replaced, too: the next file shall have room."""
_GRACE_SECONDS = 5.0

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from ingest.engines.worker import main; main(*map(int, sys.argv[2:]))"
)


class Stopped(FootnoteError):
    """The engine was closed; nobody waits for the task any more."""


class WorkerMissing(FootnoteError):
    """No worker can be started."""


class Supervisor:
    """Runs tasks in a worker process, one at a time; `prepare` belongs to one thread, `stop` may come from any."""

    def __init__(self, cutter: Callable[[], Cutter], settings: IngestSettings) -> None:
        self._cutter = cutter
        self._settings = settings
        self._lock = threading.Lock()
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._life = -1
        self._edition: int | None = None
        self._done = 0
        self.busy: tuple[str, float] | None = None
        """Name of the file that is being read, and since when by `time.monotonic`."""

    def prepare(self, task: Task) -> tuple[Outcome, int]:
        """The outcome and its size in bytes. A task that ends its worker is tried once more in a fresh one.

        A message is then tried without its attachments, of which one may be to blame. Raises Stopped, WorkerMissing.
        """
        self.busy = task.name, time.monotonic()
        known: list[SourceRecord] = []
        error: LoadError | None = None
        try:
            for attempt in _attempts(task, known):
                try:
                    return self._tried(attempt, known)
                except LoadError as exc:
                    error = exc
        finally:
            self.busy = None
        assert error is not None  # noqa: S101 - there is one attempt at least
        return failed(task, error, known[-1] if known else None), 0

    def stop(self) -> None:
        """End the worker with all that it has started, and start no other."""
        with self._lock:
            self._stopped = True
            self._signal()

    def end(self) -> None:
        """End the worker, if there is one, and release what belongs to it."""
        with self._lock:
            self._signal()
            process, self._process = self._process, None
        if process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        if self._channel is not None:
            self._channel.close()
        os.close(self._life)
        self._channel, self._edition, self._done = None, None, 0

    def _tried(self, task: Task, known: list[SourceRecord]) -> tuple[Outcome, int]:
        """One try. Raises LimitExceeded and WorkerDied, and the worker is gone then."""
        channel = self._channel or self._start()
        try:
            outcome, size = self._asked(channel, task, known)
        except (ChannelClosed, LoadError) as exc:
            error = exc if isinstance(exc, LoadError) else self._cause(task, exc)
            self.end()
            if self._stopped:
                raise Stopped("the engine was closed") from exc
            raise error from exc
        self._done += 1
        if self._done >= _TASKS or self._memory() > self._settings.worker_memory_bytes // _SWOLLEN:
            self.end()
        return outcome, size

    def _asked(self, channel: socket.socket, task: Task, known: list[SourceRecord]) -> tuple[Outcome, int]:
        cutter = self._cutter()
        deadline = time.monotonic() + self._settings.parse_seconds
        pages = 0
        try:
            send(channel, (cutter if cutter.edition != self._edition else None, task), timeout=_START_SECONDS)
            self._edition = cutter.edition
            while True:
                message, size = self._receive(channel, deadline, lambda: self._look(task))
                if isinstance(message, Outcome):
                    return message, size
                if isinstance(message, OutOfMemory):
                    raise self._too_much_memory(task)
                if isinstance(message, MoreTime):
                    pages += 1
                    if pages > self._settings.ocr_pages:
                        raise _too_many_pages(task, self._settings.ocr_pages)
                    deadline = time.monotonic() + self._settings.parse_seconds
                    continue
                if not isinstance(message, SourceRecord):
                    raise ChannelClosed("a message out of turn")
                known.append(message)
        except Silence as exc:
            seconds = self._settings.parse_seconds
            raise LimitExceeded(
                f"{task.name!r} takes longer than {seconds:g} s to read; split it, or raise ingest.parse_seconds"
            ) from exc

    def _start(self) -> socket.socket:
        """A fresh worker, ready for tasks. Raises WorkerMissing, since no file is to blame."""
        error: Exception | None = None
        for _ in range(_STARTS):
            try:
                return self._ready()
            except (ChannelClosed, Silence, OSError) as exc:
                self.end()
                if self._stopped:
                    raise Stopped("the engine was closed") from exc
                error = exc
        raise WorkerMissing(
            f"no process to read files can be started: {error}; ingest.workers = 0 does without"
        ) from error

    def _ready(self) -> socket.socket:
        """A worker that has said its first word."""
        channel = self._launch()
        send(channel, self._settings, timeout=_START_SECONDS)
        message, _ = self._receive(channel, time.monotonic() + _START_SECONDS, lambda: None)
        if not isinstance(message, Ready):
            raise ChannelClosed("it starts with nonsense")
        return channel

    def _launch(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        life_read, life_write = os.pipe()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        passed = theirs.fileno(), life_read
        with self._lock:
            if self._stopped:
                for descriptor in (ours.detach(), theirs.detach(), life_read, life_write):
                    os.close(descriptor)
                raise Stopped("the engine was closed")
            # A group of its own: Ctrl-C in the terminal does not reach it, and it is ended with what it has started.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-c", _START, json.dumps(sys.path), *map(str, passed), str(os.getpid())],
                pass_fds=passed, start_new_session=True, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self._channel, self._life = ours, life_write
        theirs.close()
        os.close(life_read)
        return ours

    def _receive(self, channel: socket.socket, deadline: float, look: Callable[[], None]) -> tuple[Any, int]:
        return receive(channel, limit=self._settings.worker_memory_bytes, deadline=deadline, look=look)

    def _look(self, task: Task) -> None:
        if self._memory() > self._settings.worker_memory_bytes:
            raise self._too_much_memory(task)

    def _too_much_memory(self, task: Task) -> LimitExceeded:
        limit = self._settings.worker_memory_bytes
        return LimitExceeded(
            f"{task.name!r} takes more than {limit:,} bytes of memory to read; split it, or raise "
            "ingest.worker_memory_bytes"
        )

    def _memory(self) -> int:
        return sum(map(_resident, _family(self._process.pid))) if self._process else 0

    def _cause(self, task: Task, error: ChannelClosed) -> LoadError:
        """Why the worker has gone."""
        code: int | None = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(1.0)
        if code == -signal.SIGXCPU:
            return LimitExceeded(
                f"{task.name!r} takes more than {self._settings.parse_seconds:g} s of processor time to read; split "
                "it, or raise ingest.parse_seconds"
            )
        how = f"sent {error}" if code is None else f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was ended by signal {-code} ({signal.Signals(-code).name})"
        return WorkerDied(f"{task.name!r}: the process that read it {how}; the file is damaged or made to do harm")

    def _signal(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _attempts(task: Task, known: Sequence[SourceRecord]) -> Iterator[Task]:
    """What to try, one after the other; `known` is what was found out by then."""
    yield task
    yield task
    if known and known[-1].media_type in MESSAGES:
        yield replace(task, alone=True)


def _too_many_pages(task: Task, limit: int) -> LimitExceeded:
    return LimitExceeded(f"{task.name!r} has more than {limit:,} scanned pages; split it, or raise ingest.ocr_pages")


def _family(pid: int) -> Iterator[int]:
    """A process and all that it has started, as far as the system tells."""
    pending = [pid]
    while pending:
        one = pending.pop()
        yield one
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                pending.extend(map(int, children.read_text().split()))


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 when there is none, or the system does not tell."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0

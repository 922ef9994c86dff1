"""The process that reads files: takes one task after the other from its parent, and ends when there is no parent.

Imports what parsing needs and nothing of models and indexes. Its memory and processor time are limited here, time of
the clock by the parent. Whatever a parser prints goes nowhere.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import threading

from ingest.engines.channel import ChannelClosed, MoreTime, OutOfMemory, Ready, receive_trusted, send
from ingest.indexing import Cutter
from ingest.preparation import prepare
from retrieval.records import SourceRecord

_PR_SET_PDEATHSIG = 1


def main(descriptor: int, life: int, parent: int) -> None:
    """Serve on the socket `descriptor` until `life`, a pipe that only the process `parent` can write to, ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    _die_with(parent, life)
    channel = socket.socket(fileno=descriptor)
    with contextlib.suppress(ChannelClosed):
        settings = receive_trusted(channel)
        _limit_memory(settings.worker_memory_bytes)
        send(channel, Ready())
        cutter: Cutter | None = None

        def identified(line: SourceRecord) -> None:
            send(channel, line)

        def before_page() -> None:
            _limit_processor(settings.parse_seconds)
            send(channel, MoreTime())

        while True:
            other_cutter, task = receive_trusted(channel)
            cutter = other_cutter or cutter
            assert cutter is not None  # noqa: S101 - the first task comes with one
            _limit_processor(settings.parse_seconds)
            try:
                outcome = prepare(
                    task, cutter=cutter, settings=settings, on_identified=identified, before_page=before_page
                )
                send(channel, outcome)
            except MemoryError:
                send(channel, OutOfMemory())
                return


def _die_with(parent: int, life: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    def watch() -> None:
        os.read(life, 1)  # nothing is ever written: this is the end of the parent
        os.killpg(0, signal.SIGKILL)  # with whatever programs were started from here

    threading.Thread(target=watch, daemon=True).start()


def _limit_memory(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(ValueError, OSError):  # where the system has no such limit, the parent still looks
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_processor(seconds: float) -> None:
    """`seconds` more than the process has used: it is killed then."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    allowed = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))

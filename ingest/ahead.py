"""Making things in a thread ahead of their use."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

_T = TypeVar("_T")


def ahead(items: Iterable[_T], *, size: int) -> Generator[_T, None, None]:
    """The same items, made in a thread that is up to `size` of them ahead. What making them raises, this raises.

    While the embedder is busy in native code, Python has a core to load and cut the next documents.
    """
    made: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue(size)
    stop = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                _put(made, (item, None), stop)
                if stop.is_set():
                    return
        except BaseException as exc:  # handed over to the consumer, whatever it is
            error = exc
        _put(made, (None, error), stop)

    thread = threading.Thread(target=make, name="prepare", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join(_LEAVE_SECONDS)


_LEAVE_SECONDS = 2.0
"""A consumer that leaves waits so long at most: the thread may be in the midst of a large file."""


def _put(to: "queue.Queue[_T]", item: _T, stop: threading.Event) -> None:
    """Wait for room, but not for a consumer that has gone."""
    while not stop.is_set():
        try:
            to.put(item, timeout=0.1)
        except queue.Full:
            continue
        return

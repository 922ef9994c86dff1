"""What a guest of web servers keeps to: robots.txt (RFC 9309), and time between requests."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from protego import Protego

from retrieval.errors import FetchError, LoadError

MAX_DELAY = 60.0
"""Seconds. A longer Crawl-delay is cut to this, and no answer of "come back later" is waited for any longer."""

MAX_ROBOTS = 512 * 2**10
"""Bytes of a robots.txt that are read; RFC 9309 asks for 500 KiB at least."""

RobotsReader = Callable[[httpx.URL], tuple[int, bytes]]
"""Status and body of a robots.txt, after redirects; raises FetchError."""


@dataclass(slots=True)
class _Site:
    """One scheme, host and port."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    rules: Protego | None = None
    error: str = ""
    """Why its robots.txt cannot be had in this run."""


class Politeness:
    """Says whether a page may be fetched, and when. Thread-safe; one for a run, in which robots.txt is read once."""

    def __init__(self, *, user_agent: str, delay: float, read_robots: RobotsReader) -> None:
        self._user_agent = user_agent
        self._delay = delay
        self._read_robots = read_robots
        self._lock = threading.Lock()
        self._sites: dict[str, _Site] = {}
        self._next: dict[str, float] = {}
        """By host: when the next request may be sent, by the monotonic clock."""
        self._stopped = threading.Event()

    def admit(self, url: httpx.URL) -> None:
        """Wait until `url` may be fetched. Raises FetchError when it may not, or not now, or when stopped."""
        rules = self._rules(url)
        delay = self._delay
        if rules is not None:
            if not rules.can_fetch(str(url), self._user_agent):
                raise FetchError(f"{str(url)!r} is not fetched: the robots.txt of {url.host!r} asks not to")
            delay = max(delay, min(rules.crawl_delay(self._user_agent) or 0.0, MAX_DELAY))
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next.get(url.host, now))
            self._next[url.host] = turn + delay
        if self._stopped.wait(max(0.0, turn - time.monotonic())):
            raise FetchError(f"{str(url)!r} was not fetched: the run was stopped")

    def postpone(self, url: httpx.URL, seconds: float) -> None:
        """The host of `url` wants no requests for a while."""
        with self._lock:
            turn = time.monotonic() + seconds
            self._next[url.host] = max(turn, self._next.get(url.host, turn))

    def stop(self) -> None:
        """End all waits."""
        self._stopped.set()

    def _rules(self, url: httpx.URL) -> Protego | None:
        with self._lock:
            site = self._sites.setdefault(f"{url.scheme}://{url.netloc.decode('ascii')}", _Site())
        with site.lock:
            if site.rules is None and not site.error:
                try:
                    site.rules = self._parsed(url.copy_with(raw_path=b"/robots.txt"))
                except LoadError as exc:  # also for the other pages: a host that is down is not asked for each
                    site.error = str(exc)
            if site.error:
                raise FetchError(site.error)
            return site.rules

    def _parsed(self, address: httpx.URL) -> Protego:
        status, body = self._read_robots(address)
        if status == 429 or status >= 500:
            raise FetchError(f"{str(address)!r} answers {status}, so nobody knows what may be fetched; try later")
        return Protego.parse(body.decode("utf-8", errors="replace") if status == 200 else "")

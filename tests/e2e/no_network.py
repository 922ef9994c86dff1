"""Runs `footnote` with every way out closed: a look-up or connection ends the process."""

import os
import sys


def forbid(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook sees what Python's own sockets do; `unshare` in the test covers what it cannot see."""
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        print(f"NETWORK {event} {arguments[1:]!r}", file=sys.stderr, flush=True)
        os._exit(99)


if __name__ == "__main__":
    sys.addaudithook(forbid)
    from footnote.__main__ import main

    main()

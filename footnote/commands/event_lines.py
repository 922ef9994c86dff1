"""Events of an ingest as lines of JSON on stdout."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from footnote.progress import Ingested
    from ingest.events import Event


def json_lines(count: "Ingested", show: "Callable[[Event], None]") -> "Callable[[Event], None]":
    """Events as lines of JSON on stdout; what is unchanged, and how many chunks are embedded, is in the totals."""
    from ingest import events

    def tell(event: "Event") -> None:
        show(event)
        match event:
            case events.Finished() if event.outcome != "unchanged" and not event.known:
                print_line("document", {**asdict(event), "seconds": dict(event.seconds)})
            case events.Ticked():
                print_line("progress", _progress(count, event))
            case events.Discovered() | events.Planned() | events.Pruning():
                print_line(type(event).__name__.lower(), asdict(event))
            case _:
                pass

    return tell


def _progress(count: "Ingested", event: Any) -> dict[str, Any]:
    left = count.seconds_left()
    return {
        "files": count.done,
        "of": count.total,
        "bytes": count.size_done,
        "of_bytes": count.size,
        "chunks": count.chunks,
        "chunks_per_second": round(count.per_second(), 1),
        "seconds_left": None if left is None else round(left),
        "failed": count.failed,
        "stage": event.stage,
        "reading": [{"name": name, "seconds": round(seconds, 1)} for name, seconds in event.reading],
    }


def print_line(event: str, data: dict[str, Any]) -> None:
    """One event, at once."""
    line = json.dumps({"event": event, **data}, ensure_ascii=False, default=str)
    print(f"{line}\n", end="", flush=True)  # in one piece: Ctrl-C may come between two

"""What the writer does for the index: gives the tail a segment, keeps segments few and alive, repairs what is damaged.

Each step is the same: files first, then the commit that makes them count, then the old files go. A crash leaves the old
state or the new one, and at worst a folder that `repair` removes.
"""

import logging
import math
import secrets
import shutil
from collections.abc import Mapping, Sequence

import numpy as np

from retrieval.errors import StoreUnavailable
from retrieval.stores.faiss import segment as segments
from retrieval.stores.faiss.catalog import Catalog, SegmentRow
from retrieval.stores.faiss.index import IndexFollower, Part
from retrieval.stores.faiss.segment import Segment, SegmentInvalid
from retrieval.stores.postings import Mask

_log = logging.getLogger(__name__)

FLUSH_CHUNKS = 4096
"""Chunks that may wait for their segment; a reader indexes them in memory, in about two thirds of a second."""
MERGE_FACTOR = 4
"""So many segments of about the same size become one; a search looks into log(n) segments."""
MAX_DEAD = 0.25
"""A segment with a greater share of dead chunks is written anew."""


class IndexWriter:
    """Upkeep of one collection's segments. For one thread at a time, in the one process that may write."""

    def __init__(self, catalog: Catalog, index: IndexFollower) -> None:
        self._catalog = catalog
        self._index = index

    def complete_if_due(self) -> None:
        """Complete the index when many chunks wait for it."""
        if self._catalog.last_key() - self._covered() >= FLUSH_CHUNKS:
            self.complete()

    def complete(self) -> None:
        """Bring all chunks into segments, and segments into shape."""
        self._flush()
        while due := self._due():
            rows, parts = due
            segment = segments.merge([part.segment for part in parts], [_alive(part) for part in parts])
            self._put(segment, replaces=rows, first=rows[0].first_key, last=rows[-1].last_key)

    def repair(self) -> None:
        """Write segments anew that are gone or damaged; remove what the catalog does not know."""
        home = self._index.folder
        home.mkdir(exist_ok=True)
        for row in self._catalog.segments():
            try:
                segments.load(home / row.name)
            except (FileNotFoundError, SegmentInvalid) as exc:
                _log.warning("building index segment %s again from the catalog: %s", row.name, exc)
                segment = self._index.rebuild(row, self._catalog)
                self._put(segment, replaces=[row], first=row.first_key, last=row.last_key)
        known = {row.name for row in self._catalog.segments()}
        for path in home.iterdir():
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)

    def _covered(self) -> int:
        return max((row.last_key for row in self._catalog.segments()), default=0)

    def _flush(self) -> None:
        """Give the chunks that are newer than all segments a segment of their own."""
        row = SegmentRow("", self._covered() + 1, self._catalog.last_key(), 0)
        segment = self._index.rebuild(row, self._catalog)
        if len(segment):
            self._put(segment, replaces=[], first=row.first_key, last=row.last_key)

    def _due(self) -> tuple[list[SegmentRow], list[Part]] | None:
        """The next segments to be made one, by first key."""
        with self._catalog.reading():
            state = self._index.state(self._catalog, rebuild_missing=True)
            rows = self._catalog.segments()
        parts = {part.name: part for part in state.parts if part.name} if state else {}
        chosen = _choose([row for row in rows if row.name in parts], parts)
        return (chosen, [parts[row.name] for row in chosen]) if chosen else None

    def _put(self, segment: Segment, *, replaces: Sequence[SegmentRow], first: int, last: int) -> None:
        added = None
        if len(segment):
            added = SegmentRow(f"{first:012d}-{last:012d}-{secrets.token_hex(4)}", first, last, len(segment))
            try:
                segments.save(segment, self._index.folder / added.name)
            except (OSError, RuntimeError) as exc:  # FAISS raises the latter
                raise StoreUnavailable(
                    f"the index in {self._index.folder} cannot be written: {exc}; documents are safe, free some disk"
                ) from exc
        with self._catalog.writing():
            self._catalog.switch_segments(remove=replaces, add=added)
        for row in replaces:
            shutil.rmtree(self._index.folder / row.name, ignore_errors=True)


def _choose(rows: Sequence[SegmentRow], parts: Mapping[str, Part]) -> list[SegmentRow]:
    """A mostly dead segment, or several neighbours of about one size; none when all is well."""
    live = {row.name: int(_alive(parts[row.name]).sum()) for row in rows}
    for row in rows:
        if live[row.name] < (1.0 - MAX_DEAD) * row.chunks:
            return [row]
    tier = {row.name: int(math.log(max(1.0, live[row.name] / FLUSH_CHUNKS), MERGE_FACTOR)) for row in rows}
    for i in range(len(rows) - MERGE_FACTOR + 1):
        run = list(rows[i : i + MERGE_FACTOR])
        if len({tier[row.name] for row in run}) == 1:
            return run
    return []


def _alive(part: Part) -> Mask:
    return np.ones(len(part.segment), dtype=np.bool_) if part.alive is None else part.alive

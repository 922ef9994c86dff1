"""What writers do for the index: give the tail a segment, keep segments few and alive, repair what is damaged.

This is apart from commits: it never keeps another writer from committing, and one process does it for all. Whoever
finds that another is at it leaves it to that one. Each step is the same: a commit is read, files are written, a second
commit makes them count if what they replace still stands, then the old files go. A chunk that dies in between stays
dead: its tombstone is newer than the commit that was read (see `Changes.switch_segments`). A crash leaves the old state
or the new one, and at worst a folder that `repair` removes.
"""

import fcntl
import logging
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from retrieval.errors import StoreUnavailable, WriterBusy
from retrieval.stores.faiss import segment as segments
from retrieval.stores.faiss.catalog import TURN_SECONDS, Catalog
from retrieval.stores.faiss.dense import IndexKind
from retrieval.stores.faiss.index import IndexFollower, Part
from retrieval.stores.faiss.rows import SegmentRow
from retrieval.stores.faiss.segment import Segment, SegmentInvalid
from retrieval.stores.postings import Mask

_log = logging.getLogger(__name__)

FLUSH_CHUNKS = 4096
"""Chunks that may wait for their segment; a reader indexes them in memory, in about two thirds of a second."""
MERGE_FACTOR = 4
"""So many segments of about the same size become one; a search looks into log(n) segments."""
MAX_DEAD = 0.25
"""A segment with a greater share of dead chunks is written anew."""

WHOLE_SHARE = 0.1
WHOLE_CHUNKS = 250_000
"""Who has written this share of an edition of at most so many chunks makes one segment of it when done: to search five
takes three times as long. For a share it costs up to ten times its own indexing, a tenth of its embedding."""

LEFT_SECONDS = 3600.0
"""How long the folder of a writer that was killed may lie there before it is worth a word."""

_LOCK = "upkeep.lock"
_PURGE_CHUNKS = 2000
"""Chunks of a dropped edition removed in one commit: other writers wait some tens of milliseconds at most."""
_BUILD_CHUNKS = 50_000
"""Chunks of a segment when all of an edition's are built anew: 200 MB of memory."""
_LOOK_SECONDS = 0.05
_FOLDER = re.compile(r"\.?\d{12}-\d{12}-[0-9a-f]{8}(\.partial)?")


@dataclass(frozen=True, slots=True)
class _Step:
    """Parts that shall become one segment in the place of `rows`, as they stood at commit `read_at`."""

    parts: Sequence[Part]
    rows: Sequence[SegmentRow]
    first: int
    last: int
    read_at: int


class IndexWriter:
    """Upkeep of one collection's segments, from any thread.

    `check` raises CollectionNotFound when the collection that stands at this place is not the one that was opened.
    """

    def __init__(
        self, catalog: Path, index: Callable[[int], IndexFollower], kind: IndexKind, check: Callable[[], None]
    ) -> None:
        self._path = catalog
        self._kind = kind
        self._home = catalog.parent / "segments"
        self._index = index
        self._check = check

    def is_due(self, catalog: Catalog, edition: int) -> bool:
        """Whether many chunks wait for their segment."""
        return catalog.waiting(edition, _covered(catalog, edition), limit=FLUSH_CHUNKS) >= FLUSH_CHUNKS

    def complete(self, *, at_least: int = 1, written: Mapping[int, int] = MappingProxyType({})) -> None:
        """Bring chunks into segments where `at_least` so many wait, and segments into shape, in all editions.

        `written`: how many chunks of each edition a writer that is done has written.
        """
        with self._turn() as catalog:
            if catalog is None:
                return
            for edition in catalog.editions():
                while step := self._due(catalog, edition, at_least, written.get(edition, 0)):
                    merged = segments.merge([part.segment for part in step.parts], [_alive(p) for p in step.parts])
                    if not self._put(catalog, edition, step, merged):
                        break

    def repair(self) -> None:
        """Write segments anew that are gone or damaged; remove what the catalog does not know any more."""
        with self._turn() as catalog:
            if catalog is None:
                return
            self._home.mkdir(exist_ok=True)
            for edition in catalog.editions():
                for row in catalog.segments(edition):
                    self._repair(catalog, row)
            self._clear_away(catalog)
        self.purge()

    def purge(self) -> None:
        """Remove what dropped editions held, in small commits."""
        with self._turn() as catalog:
            if catalog is not None:
                self._purge(catalog)

    def orphans(self) -> list[str]:
        """Folders of segments that the catalog does not know, and that a writer should have removed by now.

        One that was killed leaves the folder that it was writing to the next one; that is no damage.
        """
        with closing(Catalog(self._path, writable=False)) as catalog:
            if not self._orphans(catalog):
                return []  # and nobody else's turn was taken
        oldest = time.time() - LEFT_SECONDS
        with self._turn() as catalog:
            found = [] if catalog is None else self._orphans(catalog)
            return [path.name for path in found if path.stat().st_mtime < oldest]

    def mend(self, names: Container[str], editions: Collection[int]) -> None:
        """Build segments of these names anew from the catalog, and all of these editions; clear away the rest."""
        with self._own_turn() as catalog:
            for edition in catalog.editions():
                if edition in editions:
                    self._build_all(catalog, edition)
                    continue
                for row in catalog.segments(edition):
                    if row.name in names:
                        self._build(catalog, row)
            self._clear_away(catalog)

    def bury(self) -> None:
        """Leave nothing on the disk of what was deleted: in segments, in the rows of dropped editions, in free pages.

        Raises WriterBusy when another process is at work for longer than `TURN_SECONDS`.
        """
        with self._own_turn() as catalog:
            self._purge(catalog)
            for edition in catalog.editions():
                for row in catalog.segments(edition):
                    if catalog.dead(row):
                        self._write_anew(catalog, row)
            self._clear_away(catalog)
            catalog.rewrite()

    def _purge(self, catalog: Catalog) -> None:
        for edition in catalog.dropped():
            more = True
            while more:
                with catalog.writing() as changes:
                    more = changes.purge(edition, _PURGE_CHUNKS)

    def _clear_away(self, catalog: Catalog) -> None:
        for path in self._orphans(catalog):
            segments.remove(path)

    def _orphans(self, catalog: Catalog) -> list[Path]:
        if not self._home.is_dir():
            return []
        known = catalog.segment_names()
        return [path for path in self._home.iterdir() if path.name not in known and _FOLDER.fullmatch(path.name)]

    @contextmanager
    def _own_turn(self) -> Iterator[Catalog]:
        """The catalog, once nobody else looks after the index. Raises WriterBusy after `TURN_SECONDS`."""
        patience = time.monotonic() + TURN_SECONDS
        while True:
            with self._turn() as catalog:
                if catalog is not None:
                    self._home.mkdir(exist_ok=True)
                    yield catalog
                    return
            if time.monotonic() > patience:
                raise WriterBusy(
                    f"the index of collection {self._path.parent.name!r} is being completed by another process, which "
                    f"has not finished within {TURN_SECONDS:.0f} s; wait for it, and try again"
                )
            time.sleep(_LOOK_SECONDS)

    @contextmanager
    def _turn(self) -> Iterator[Catalog | None]:
        """The catalog, for the one who looks after the index now; None while another does."""
        try:
            handle = os.open(self._path.parent / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            self._check()
            raise StoreUnavailable(f"{exc.filename} cannot be used: {exc.strerror}; check its permissions") from exc
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            catalog = Catalog(self._path, writable=True)
        except BlockingIOError:
            os.close(handle)
            yield None
            return
        except BaseException:
            os.close(handle)
            raise
        try:
            self._check()  # what was opened by its name may be a collection that was made since
            yield catalog
        finally:
            catalog.close()
            os.close(handle)

    def _due(self, catalog: Catalog, edition: int, at_least: int, written: int) -> _Step | None:
        """What to do next: the tail first, then a mostly dead segment or several of one size."""
        while True:
            with catalog.reading():
                rows, covered = catalog.segments(edition), _covered(catalog, edition)
                flush = catalog.waiting(edition, covered, limit=at_least) >= at_least
                chosen = (
                    [] if flush else _choose(rows, {row.name: row.chunks - catalog.dead(row) for row in rows}, written)
                )
                if not flush and not chosen:
                    return None
                state = self._index(edition).state(catalog, rebuild_missing=True)
            if state and flush:
                tail = [part for part in state.parts if part.name is None]
                return _Step(tail, [], covered + 1, state.last_key, state.sequence)
            if state:
                parts = {part.name: part for part in state.parts}
                named = [parts[row.name] for row in chosen]
                return _Step(named, chosen, chosen[0].first_key, chosen[-1].last_key, state.sequence)

    def _repair(self, catalog: Catalog, row: SegmentRow) -> None:
        try:
            segments.load(self._home / row.name)
        except (FileNotFoundError, SegmentInvalid) as exc:
            _log.warning("building index segment %s again from the catalog: %s", row.name, exc)
            self._build(catalog, row)

    def _write_anew(self, catalog: Catalog, row: SegmentRow) -> None:
        """Put a segment without its dead chunks in its place."""
        with catalog.reading():
            read_at, dead = catalog.sequence(), catalog.tombstones(row.edition)
        try:
            segment = segments.load(self._home / row.name)
        except (FileNotFoundError, SegmentInvalid):
            self._build(catalog, row)
            return
        rest = segments.without_dead(segment, ~segment.mask(dead))
        self._put(catalog, row.edition, _Step([], [row], row.first_key, row.last_key, read_at), rest)

    def _build(self, catalog: Catalog, row: SegmentRow) -> None:
        """Put what lives in the range of a segment in its place, from the catalog."""
        with catalog.reading():
            read_at = catalog.sequence()
            segment = self._index(row.edition).build(catalog, row.first_key, row.last_key)
        self._put(catalog, row.edition, _Step([], [row], row.first_key, row.last_key, read_at), segment)

    def _build_all(self, catalog: Catalog, edition: int) -> None:
        """Put segments built of ascending ranges in the place of whatever an edition has.

        In one commit, up to the same key as before: who follows it takes what is older for indexed.
        """
        added: list[SegmentRow] = []
        with catalog.reading():
            read_at, covered = catalog.sequence(), _covered(catalog, edition)
            first = 1
            while (last := catalog.last_of(edition, first, covered, limit=_BUILD_CHUNKS)) is not None:
                segment = self._index(edition).build(catalog, first, last)
                added.append(self._save(edition, first, last, segment))
                first = last + 1
        if added:
            added[-1] = replace(added[-1], last_key=max(covered, added[-1].last_key))
        with catalog.writing() as changes:
            changes.replace_segments(edition, added, last=covered, read_at=read_at)

    def _save(self, edition: int, first: int, last: int, segment: Segment) -> SegmentRow:
        name = f"{first:012d}-{last:012d}-{secrets.token_hex(4)}"
        try:
            segments.save(segments.with_short_way(segment, self._kind), self._home / name)
        except (OSError, RuntimeError) as exc:  # FAISS raises the latter
            self._check()
            raise StoreUnavailable(
                f"the index in {self._home} cannot be written: {exc}; documents are safe, free some disk"
            ) from exc
        return SegmentRow(name, edition, first, last, len(segment))

    def _put(self, catalog: Catalog, edition: int, step: _Step, segment: Segment) -> bool:
        added = self._save(edition, step.first, step.last, segment) if len(segment) else None
        with catalog.writing() as changes:
            switched = changes.switch_segments(
                edition=edition, first=step.first, last=step.last, remove=step.rows, add=added, read_at=step.read_at
            )
        for row in step.rows if switched else [added] if added else []:
            segments.remove(self._home / row.name)
        return switched


def _covered(catalog: Catalog, edition: int) -> int:
    return max((row.last_key for row in catalog.segments(edition)), default=0)


def _choose(rows: Sequence[SegmentRow], live: Mapping[str, int], written: int) -> list[SegmentRow]:
    """A mostly dead segment, several neighbours of about one size, or after a large load all; none when all is well."""
    total = sum(live.values())
    if len(rows) > 1 and 2 * FLUSH_CHUNKS <= total <= WHOLE_CHUNKS and written >= WHOLE_SHARE * total:
        return list(rows)
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

"""The segments that serve one commit of the catalog, and how a process follows from commit to commit.

The catalog says which segments there are, up to which key they reach and which chunks have died since. What is newer
than all of them (the tail) is indexed in memory when it is first asked for. So a crash between a commit and the
writing of its index never shows, and a process that only reads sees each commit without waiting for a writer.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval import bm25
from retrieval.ports import Vectors
from retrieval.records import Hit, TermScores
from retrieval.stores.checks import SCORE_DECIMALS
from retrieval.stores.faiss import lexical
from retrieval.stores.faiss import segment as segments
from retrieval.stores.faiss.catalog import Catalog
from retrieval.stores.faiss.index_rows import Keys
from retrieval.stores.faiss.rows import SegmentRow
from retrieval.stores.faiss.segment import Segment, SegmentInvalid
from retrieval.stores.postings import Mask, term_hash

_log = logging.getLogger(__name__)
_TIE_SLACK = 16
"""Results fetched beyond k, since those that tie with the last one compete for its place by chunk_id."""
_FIRST_LOOK = 25
"""Results fetched at first from a part after the largest one, which tells what is worth fetching: most have few."""
_MAX_TAIL_PARTS = 8
_KNOWN_FREQUENCIES = 50_000
"""Terms whose frequency is kept: where chunks have died, it takes a look at each posting."""

Scored = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Positions in a part and rounded scores: at least the k best there, with all that tie with the last of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A segment as it stands in one commit."""

    segment: Segment
    alive: Mask | None
    """None when all of its chunks live."""
    name: str | None = None
    """Of its folder; None for a part of the tail."""

    @property
    def live_lengths(self) -> NDArray[np.int32]:
        lengths = self.segment.postings.lengths
        return lengths if self.alive is None else lengths[self.alive]

    def mask(self, allowed: Mask | None) -> Mask | None:
        """Which chunks count in a search of the documents `allowed` (see `Catalog.passing`); None for all."""
        if allowed is None:
            return self.alive
        passing = allowed[np.minimum(self.segment.documents, len(allowed) - 1)]
        return passing if self.alive is None else passing & self.alive


class IndexState:
    """Both indexes at one commit. Immutable, so any number of threads may search it."""

    def __init__(self, *, sequence: int, last_key: int, parts: Sequence[Part]) -> None:
        self.sequence = sequence
        self.last_key = last_key
        self.parts = parts
        """By ascending keys."""
        self._chunks = sum(len(part.live_lengths) for part in parts)
        total = sum(int(part.live_lengths.sum()) for part in parts)
        self._average = total / self._chunks if total else 1.0
        # The largest first: what it finds tells what is worth looking for in the others.
        self._searched = sorted(parts, key=lambda part: -len(part.segment))
        self._norms = [
            bm25.length_norm(part.segment.postings.lengths.astype(np.float64), self._average).astype(np.float32)
            for part in self._searched
        ]
        self._frequencies: dict[int, int] = {}

    def dense(self, vector: Vectors, k: int, allowed: Mask | None) -> list[Hit]:
        """The chunks nearest to `vector` in documents that are `allowed` (see `Part.mask`)."""
        found: list[Scored] = []
        floor = -np.inf
        for part in self._searched:
            positions, scores = _nearest(part, vector, k, part.mask(allowed), floor)
            found.append((positions, scores))
            floor = max(floor, _kth(scores, k))
        return self._best(found, k)

    def lexical(self, terms: Mapping[str, float], k: int, allowed: Mask | None) -> list[Hit]:
        """The chunks with the best BM25 in documents that are `allowed`."""
        # In the order of the terms, as the memory store adds up: the last digit of a sum depends on it.
        weights = [
            (hashed, weight * bm25.idf(self._chunks, frequency))
            for hashed, weight in ((term_hash(term), weight) for term, weight in sorted(terms.items()))
            if (frequency := self._frequency(hashed))
        ]
        found: list[Scored] = []
        floor = 0.0
        for part, norms in zip(self._searched, self._norms, strict=True):
            positions, scores = lexical.best(
                part.segment.postings, weights, norms,
                average=self._average, k=k, mask=part.mask(allowed), floor=floor,
            )  # fmt: skip
            found.append((positions, np.round(scores, SCORE_DECIMALS)))
            floor = max(floor, _kth(scores, k))
        return self._best(found, k)

    def term_scores(self, terms: Mapping[str, float], keys: NDArray[np.int64]) -> TermScores:
        """What each term adds to the BM25 of the chunks of these keys; nothing to one that is not indexed."""
        ascending = tuple(sorted(terms))
        hashes = [term_hash(term) for term in ascending]
        chunks = [self._frequency(hashed) for hashed in hashes]
        idf = np.array([bm25.idf(self._chunks, frequency) for frequency in chunks])
        weights = [(hashed, terms[term] * rarity) for hashed, term, rarity in zip(hashes, ascending, idf, strict=True)]
        scores = np.zeros((len(keys), len(terms)))
        for part in self.parts:
            at, there = part.segment.positions(keys)
            if part.alive is not None:
                there &= part.alive[at]
            if there.any():
                index = part.segment.postings
                scores[there] = lexical.by_term(index, weights, at[there], average=self._average)
        return TermScores(ascending, np.array(chunks, dtype=np.int64), idf, scores)

    def _best(self, found: Sequence[Scored], k: int) -> list[Hit]:
        """The k best of what the parts have found, best first, ties by chunk id."""
        every = np.concatenate([np.zeros(0), *(scores for _, scores in found)])
        worst = np.partition(every, -k)[-k] if len(every) > k else -np.inf
        hits = []
        for part, (positions, scores) in zip(self._searched, found, strict=True):
            good = scores >= worst
            ids = part.segment.ids.at(positions[good])
            hits += [Hit(chunk_id, score) for chunk_id, score in zip(ids, scores[good].tolist(), strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))[:k]

    def _frequency(self, term: int) -> int:
        """How many live chunks hold the term of this hash."""
        known = self._frequencies.get(term)
        if known is None:
            known = sum(part.segment.postings.frequency(term, part.alive) for part in self.parts)
            if len(self._frequencies) >= _KNOWN_FREQUENCIES:
                self._frequencies.clear()
            self._frequencies[term] = known
        return known


class IndexFollower:
    """Keeps the newest state of one edition of a collection for all threads of a process."""

    def __init__(self, folder: Path, edition: int, terms: Callable[[str], list[str]]) -> None:
        self.folder = folder
        self.edition = edition
        self._terms = terms
        self._state: IndexState | None = None
        self._lock = threading.Lock()

    def state(self, catalog: Catalog, *, rebuild_missing: bool = False) -> IndexState | None:
        """The state at the commit that `catalog` is reading; None when another thread is already past it: read again.

        Raises FileNotFoundError when a segment is not there: most likely it was merged into another since our commit,
        and reading again helps; with `rebuild_missing`, it is made from the catalog instead.
        """
        sequence = catalog.sequence()
        with self._lock:
            if self._state is None or self._state.sequence < sequence:
                self._state = self._follow(catalog, sequence, rebuild_missing=rebuild_missing)
            return self._state if self._state.sequence == sequence else None

    def state_at(self, catalog: Catalog) -> IndexState:
        """The state at the commit that `catalog` is reading, even when it has to be made for this one reader."""
        found = self.state(catalog, rebuild_missing=True)
        if found is None:
            alone = IndexFollower(self.folder, self.edition, self._terms)
            found = alone._follow(catalog, catalog.sequence(), rebuild_missing=True)
        return found

    def build(self, catalog: Catalog, first: int, last: int) -> Segment:
        """The index of the chunks that live in a range of keys, from the catalog."""
        return segments.build(catalog.index_input(self.edition, first, last), terms=self._terms)

    def _follow(self, catalog: Catalog, sequence: int, *, rebuild_missing: bool) -> IndexState:
        rows, last_key = catalog.segments(self.edition), catalog.last_key()
        covered = max((row.last_key for row in rows), default=0)
        before = self._state.parts if self._state else ()
        opened = {part.name: part.segment for part in before if part.name}
        tail = [part.segment for part in before if part.name is None and part.segment.keys[-1] > covered]
        newer = self.build(catalog, max(covered, self._state.last_key if self._state else 0) + 1, last_key)
        if len(newer):
            tail.append(newer)
        if len(tail) > _MAX_TAIL_PARTS:
            tail = [segments.merge(tail, [np.ones(len(part), dtype=np.bool_) for part in tail])]
        dead = catalog.tombstones(self.edition)
        parts = [
            _part(opened.get(row.name) or self._open(row, catalog, rebuild_missing), dead, row.name) for row in rows
        ]
        parts += [_part(segment, dead, None, above=covered) for segment in tail]
        return IndexState(sequence=sequence, last_key=last_key, parts=parts)

    def _open(self, row: SegmentRow, catalog: Catalog, rebuild_missing: bool) -> Segment:
        try:
            return segments.load(self.folder / row.name)
        except (SegmentInvalid, FileNotFoundError) as exc:
            if isinstance(exc, FileNotFoundError) and not rebuild_missing:
                raise
            _log.warning("index segment %s cannot be used, taking the catalog instead: %s", row.name, exc)
            return self.build(catalog, row.first_key, row.last_key)


def _part(segment: Segment, dead: Keys, name: str | None, *, above: int = 0) -> Part:
    """`above`: keys up to this one are in a segment by now. A writer that flushed saw less than we had indexed."""
    alive = ~segment.mask(dead) & (segment.keys > above)
    return Part(segment, None if alive.all() else alive, name)


def _nearest(part: Part, vector: Vectors, k: int, mask: Mask | None, floor: float) -> Scored:
    """What may be among the k best of all parts: so many, or as many as score `floor`, which others have reached."""
    fetch = (k + _TIE_SLACK) if floor < -1.0 else min(k, _FIRST_LOOK) + _TIE_SLACK
    while True:
        positions, scores = part.segment.dense.nearest(vector, fetch, mask)
        scores = np.round(scores, SCORE_DECIMALS)
        if len(scores) < fetch or fetch >= len(part.segment) or scores.min() < max(floor, _kth(scores, k)):
            return positions, scores
        fetch *= 4


def _kth(scores: NDArray[np.float64], k: int) -> float:
    """The k-th best; less than any score when there are fewer."""
    return float(np.partition(scores, -k)[-k]) if len(scores) >= k else -np.inf

"""An immutable lexical index of some chunks: who holds which term how often, as NumPy arrays. Every store has it.

    keys      (n,) int64    chunk keys, ascending; a chunk's position here is its number in all else
    lengths   (n,) int32    terms in each chunk
    terms     (t,) uint64   64-bit hashes of the distinct terms, ascending (see `term_hash`)
    starts    (t+1,) int64  postings of term i are [starts[i], starts[i+1])
    positions (p,) int32    the chunks of each posting, ascending within a term
    counts    (p,) uint16   occurrences there, at most 65,535

A store keeps several of them, each for a range of keys, and which chunks are alive: so document frequencies and
lengths are exact at each commit. `retrieval.bm25` has the formula.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""Shape (n,): which chunks count."""

_DIGEST_TERMS = 50_000
"""Terms looked at together, about a million postings."""


@functools.lru_cache(maxsize=200_000)
def term_hash(term: str) -> int:
    """64 bits of BLAKE2b: a million distinct terms collide with a probability of 3e-8."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """The arrays drawn above."""

    keys: NDArray[np.int64]
    lengths: NDArray[np.int32]
    terms: NDArray[np.uint64]
    starts: NDArray[np.int64]
    positions: NDArray[np.int32]
    counts: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, term: int) -> slice:
        """The postings of a term's hash; empty when no chunk has it."""
        i = int(np.searchsorted(self.terms, np.uint64(term)))
        if i < len(self.terms) and self.terms[i] == term:
            return slice(int(self.starts[i]), int(self.starts[i + 1]))
        return slice(0, 0)

    def frequency(self, term: int, alive: Mask | None) -> int:
        """How many live chunks hold the term of this hash."""
        part = self.of(term)
        return part.stop - part.start if alive is None else int(alive[self.positions[part]].sum())


def build(keys: NDArray[np.int64], texts: Sequence[str], *, terms: Callable[[str], list[str]]) -> Postings:
    """Index texts by ascending keys."""
    hashes = [np.array([term_hash(term) for term in terms(text)], dtype=np.uint64) for text in texts]
    lengths = np.array([len(found) for found in hashes], dtype=np.int32)
    every = np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint64)
    positions = np.repeat(np.arange(len(keys), dtype=np.int32), lengths)
    order = np.lexsort((positions, every))
    every, positions = every[order], positions[order]
    first = np.flatnonzero(_changes(every) | _changes(positions))
    counts = np.diff(first, append=len(every)).clip(max=65_535).astype(np.uint16)
    return _sorted(keys, lengths, every[first], positions[first], counts)


def merge(parts: Sequence[Postings], alive: Sequence[Mask]) -> Postings:
    """One index of the live chunks of several, which are given by ascending keys."""
    hashes, positions, counts, offset = [], [], [], 0
    for part, live in zip(parts, alive, strict=True):
        renumbered = np.cumsum(live, dtype=np.int32) - 1 + np.int32(offset)
        kept = live[part.positions]
        hashes.append(np.repeat(part.terms, np.diff(part.starts))[kept])
        positions.append(renumbered[part.positions[kept]])
        counts.append(part.counts[kept])
        offset += int(live.sum())
    keys = np.concatenate([part.keys[live] for part, live in zip(parts, alive, strict=True)])
    lengths = np.concatenate([part.lengths[live] for part, live in zip(parts, alive, strict=True)])
    every = np.concatenate(hashes)
    order = np.argsort(every, kind="stable")  # stable: positions stay ascending within a term
    return _sorted(keys, lengths, every[order], np.concatenate(positions)[order], np.concatenate(counts)[order])


def digests(index: Postings, chunks: int) -> NDArray[np.uint64]:
    """64 bits over the terms and counts of each of `chunks` chunks: equal when these are, in whatever index."""
    found = np.zeros(chunks, dtype=np.uint64)
    for first in range(0, len(index.terms), _DIGEST_TERMS):
        starts = index.starts[first : first + _DIGEST_TERMS + 1]
        held = slice(int(starts[0]), int(starts[-1]))
        mixed = np.repeat(index.terms[first : first + _DIGEST_TERMS], np.diff(starts))
        mixed = (mixed ^ (mixed >> np.uint64(31))) * (2 * index.counts[held].astype(np.uint64) + np.uint64(1))
        mixed ^= mixed >> np.uint64(29)
        np.add.at(found, index.positions[held], mixed * np.uint64(0x9E3779B97F4A7C15))
    return found


def fault(index: Postings, chunks: int) -> str:
    """What of an index over `chunks` chunks is not as drawn above, in words; empty when it is sound."""
    frequencies = np.diff(index.starts)
    if len(index.starts) != len(index.terms) + 1 or (frequencies < 1).any():
        return "a term has no postings"
    if not len(index.positions) == len(index.counts) == index.starts[-1] - index.starts[0]:
        return "its postings have not as many positions as counts"
    if (index.terms[1:] <= index.terms[:-1]).any():
        return "its terms are not ascending"
    if len(index.positions) and not 0 <= index.positions.min() <= index.positions.max() < chunks:
        return "it names chunks that it does not have"
    falling = index.positions[1:] <= index.positions[:-1]
    falling[index.starts[1:-1] - 1] = False  # from one term to the next they may fall
    if falling.any():
        return "the postings of a term are not ascending"
    return "" if index.counts.all() else "a posting counts nothing"


def _sorted(
    keys: NDArray[np.int64],
    lengths: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    positions: NDArray[np.int32],
    counts: NDArray[np.uint16],
) -> Postings:
    """From postings sorted by term hash: the distinct terms and where each begins."""
    first = np.flatnonzero(_changes(hashes))
    starts = np.append(first, len(hashes)).astype(np.int64)
    return Postings(keys, lengths, hashes[first], starts, positions, counts)


def _changes(values: NDArray[Any]) -> Mask:
    """Where a value differs from the one before it; the first one does."""
    return np.concatenate([np.ones(min(1, len(values)), dtype=np.bool_), values[1:] != values[:-1]])

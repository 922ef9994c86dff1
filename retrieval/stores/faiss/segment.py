"""An immutable index of some chunks: their vectors in FAISS, their terms as postings in NumPy arrays.

    keys      (n,) int64    chunk keys, ascending; a chunk's position here is its number in all else
    lengths   (n,) int32    terms in each chunk
    terms     (t,) uint64   64-bit hashes of the distinct terms, ascending (see `term_hash`)
    starts    (t+1,) int64  postings of term i are [starts[i], starts[i+1])
    positions (p,) int32    the chunks of each posting, ascending within a term
    counts    (p,) uint16   occurrences there, at most 65,535
    dense     FAISS index, inner product, in the order of `keys`

Why not tantivy: a process that only reads could not bring its index up to the catalog without its write lock, its
statistics count deleted chunks until a merge, and a filter would apply after its top k. Here a score is exact at each
commit. `python -m evals.bench.lexical` compares their speed.
"""

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import ANALYSIS_VERSION
from retrieval.ports import Vectors

FORMAT = 1
_DENSE = "dense.faiss"
_HEADER = "segment.json"

Mask = NDArray[np.bool_]
"""Shape (n,): which chunks of a segment count."""


class SegmentInvalid(Exception):
    """The files are missing, damaged or of another format: build the segment again from the catalog."""


@functools.lru_cache(maxsize=200_000)
def term_hash(term: str) -> int:
    """64 bits of BLAKE2b: a million distinct terms collide with a probability of 3e-8."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """The arrays of a segment, as drawn above."""

    keys: NDArray[np.int64]
    lengths: NDArray[np.int32]
    terms: NDArray[np.uint64]
    starts: NDArray[np.int64]
    positions: NDArray[np.int32]
    counts: NDArray[np.uint16]

    def of(self, term: int) -> slice:
        """The postings of a term's hash; empty when no chunk has it."""
        i = int(np.searchsorted(self.terms, np.uint64(term)))
        if i < len(self.terms) and self.terms[i] == term:
            return slice(int(self.starts[i]), int(self.starts[i + 1]))
        return slice(0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Both indexes of some chunks."""

    postings: Postings
    dense: Any
    """faiss.Index"""

    @property
    def keys(self) -> NDArray[np.int64]:
        return self.postings.keys

    def __len__(self) -> int:
        return len(self.postings.keys)

    def mask(self, keys: NDArray[np.int64]) -> Mask:
        """Which chunks of the segment are among `keys` (ascending)."""
        if not len(keys):
            return np.zeros(len(self), dtype=np.bool_)
        found = np.searchsorted(keys, self.keys)
        found[found == len(keys)] = 0
        among: Mask = keys[found] == self.keys
        return among

    def frequency(self, term: int, alive: Mask | None) -> int:
        """How many live chunks hold the term of this hash."""
        part = self.postings.of(term)
        return part.stop - part.start if alive is None else int(alive[self.postings.positions[part]].sum())

    def nearest(self, vector: Vectors, k: int, mask: Mask | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Positions and cosines of the (at most) k best among those that `mask` lets through, best first.

        The cosines are computed again in double precision from the stored vectors, so that they do not depend on
        the order in which FAISS adds up.
        """
        parameters = None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # added by the SWIG wrapper
        _, found = self.dense.search(vector.reshape(1, -1), min(k, len(self)), params=parameters)
        positions = found[0][found[0] >= 0]
        if not len(positions):
            return positions, np.zeros(0)
        return positions, self.dense.reconstruct_batch(positions).astype(np.float64) @ vector.astype(np.float64)


def build(
    keys: NDArray[np.int64], vectors: Vectors, texts: Sequence[str], *, terms: Callable[[str], list[str]]
) -> Segment:
    """Index chunks given by ascending keys, vectors of shape (n, dimension) and texts."""
    hashes = [np.array([term_hash(term) for term in terms(text)], dtype=np.uint64) for text in texts]
    lengths = np.array([len(found) for found in hashes], dtype=np.int32)
    every = np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint64)
    positions = np.repeat(np.arange(len(keys), dtype=np.int32), lengths)
    order = np.lexsort((positions, every))
    every, positions = every[order], positions[order]
    first = np.flatnonzero(_changes(every) | _changes(positions))
    counts = np.diff(first, append=len(every)).clip(max=65_535).astype(np.uint16)
    return Segment(_postings(keys, lengths, every[first], positions[first], counts), _flat(vectors))


def merge(segments: Sequence[Segment], alive: Sequence[Mask]) -> Segment:
    """One segment of the live chunks of several, which are given by ascending keys."""
    hashes, positions, counts, offset = [], [], [], 0
    for segment, live in zip(segments, alive, strict=True):
        postings = segment.postings
        renumbered = np.cumsum(live, dtype=np.int32) - 1 + np.int32(offset)
        kept = live[postings.positions]
        hashes.append(np.repeat(postings.terms, np.diff(postings.starts))[kept])
        positions.append(renumbered[postings.positions[kept]])
        counts.append(postings.counts[kept])
        offset += int(live.sum())
    keys = np.concatenate([s.keys[live] for s, live in zip(segments, alive, strict=True)])
    lengths = np.concatenate([s.postings.lengths[live] for s, live in zip(segments, alive, strict=True)])
    every = np.concatenate(hashes)
    order = np.argsort(every, kind="stable")  # stable: positions stay ascending within a term
    vectors = [s.dense.reconstruct_n(0, len(s))[live] for s, live in zip(segments, alive, strict=True)]
    postings = _postings(keys, lengths, every[order], np.concatenate(positions)[order], np.concatenate(counts)[order])
    return Segment(postings, _flat(np.concatenate(vectors)))


def save(segment: Segment, folder: Path) -> None:
    """Write to `folder`, which must not exist. When this returns, it is there whole and on the disk."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for field in fields(Postings):
        np.save(partial / f"{field.name}.npy", getattr(segment.postings, field.name))
    faiss.write_index(segment.dense, str(partial / _DENSE))
    header = {"format": FORMAT, "analysis": ANALYSIS_VERSION, "chunks": len(segment)}
    (partial / _HEADER).write_text(json.dumps(header), encoding="utf-8")
    for path in (*partial.iterdir(), partial):
        _sync(path)
    partial.rename(folder)
    _sync(folder.parent)


def load(folder: Path) -> Segment:
    """Map the files of a saved segment. Raises SegmentInvalid; FileNotFoundError when the folder is gone."""
    if not folder.exists():
        raise FileNotFoundError(folder)
    try:
        header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        if (header["format"], header["analysis"]) != (FORMAT, ANALYSIS_VERSION):
            raise SegmentInvalid(f"{folder}: made by another version")
        postings = Postings(*(np.load(folder / f"{field.name}.npy", mmap_mode="r") for field in fields(Postings)))
        dense = faiss.read_index(str(folder / _DENSE), faiss.IO_FLAG_MMAP_IFC)
    except (OSError, ValueError, KeyError, RuntimeError, EOFError) as exc:
        raise SegmentInvalid(f"{folder}: {exc}") from exc
    whole = (
        len(postings.keys) == len(postings.lengths) == dense.ntotal == header["chunks"]
        and len(postings.starts) == len(postings.terms) + 1
        and len(postings.positions) == len(postings.counts) == postings.starts[-1]
    )
    if not whole:
        raise SegmentInvalid(f"{folder}: its files do not fit each other")
    return Segment(postings, dense)


def _postings(
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


def _flat(vectors: Vectors) -> Any:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

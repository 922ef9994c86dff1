"""The dense index of a segment: its vectors in full precision and, from a size on, a short way to candidates.

The vectors are a FAISS flat index, memory-mapped; a search of it is exact. What is found by the short way is scored
again from them, in double precision, so that quantisation decides only which candidates there are:

    hnsw     graph over 8-bit codes, about 520 bytes a chunk (Malkov and Yashunin 2018, arXiv:1603.09320)
    compact  1-bit codes in inverted lists, about 95 bytes a chunk (RaBitQ: Gao and Long 2024, arXiv:2405.12497)

It holds each distinct vector once. Texts that recur (notices, navigation) would fill the links of a graph's nodes with
copies and cut them off from all else: without copies, recall@10 on AWS pages is .982 instead of .964.
`python -m evals.bench.dense` measures all of it on a collection; docs/stores.md has the numbers.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.cores import usable_cores
from retrieval.ports import Vectors
from retrieval.stores.faiss.ids import ranges
from retrieval.stores.postings import Mask

IndexKind = Literal["hnsw", "flat", "compact"]
_SHORT_KINDS: tuple[IndexKind, ...] = ("hnsw", "compact")
Positions = NDArray[np.int64]

APPROXIMATE_CHUNKS = 10_000
"""From so many chunks on a segment has a short way. Exact takes 0.6 ms there, and grows in proportion; a graph 0.25."""
EXACT_PER_BREADTH = 24
"""Scoring so many vectors exactly costs as much as one more candidate on the short way: below, exact is quicker too."""
BREADTH_PER_RESULT = 1.5
MIN_BREADTH = 128
"""Candidates looked at on the short way, per result and at least."""

_LINKS = 16
_BREADTH_WHILE_BUILDING = 200
"""HNSW's M and efConstruction. M 32 finds no more at the same time per query; efConstruction 100 finds 1 point less."""
_LIST_SHARE = 1 / 3
"""Of its inverted lists, `compact` looks into so many."""
_COMPACT_PER_BREADTH = 2
RESCORED_PER_RESULT: dict[IndexKind, float] = {"hnsw": 1.25, "compact": 3.5}
"""Candidates scored again in full precision, per result: 1-bit codes rank more roughly than 8-bit ones, which is why
twice as many are looked at, too."""
_TRAIN_PER_LIST = 40
_BLOCK = 32_768
"""Vectors copied at a time while a short way is built."""

_FLAT, _SHORT, _MEMBERS, _STARTS = "dense.faiss", "short-{}.faiss", "short-members.npy", "short-starts.npy"


@dataclass(frozen=True, slots=True, eq=False)
class Short:
    """The short way: a FAISS index of the distinct vectors, and where each of them stands."""

    kind: IndexKind
    index: Any
    members: NDArray[np.int32]
    """Shape (n,): positions, those of equal vectors side by side."""
    starts: NDArray[np.int32]
    """Shape (distinct + 1,): the positions of distinct vector i are members[starts[i]:starts[i + 1]], and none of one
    that was taken out (see `removal`)."""

    def nearest(self, vector: Vectors, breadth: int) -> Positions:
        """About the `breadth` nearest, best first as far as codes can tell."""
        if self.kind == "hnsw":
            settings = faiss.SearchParametersHNSW(efSearch=breadth)  # type: ignore[attr-defined]  # not in its stubs
        else:
            breadth *= _COMPACT_PER_BREADTH
            lists = faiss.IVFRaBitQSearchParameters()
            lists.nprobe = math.ceil(_LIST_SHARE * faiss.extract_index_ivf(self.index).nlist)
            lists.qb = 8  # bits of the query's coordinates
            settings = faiss.SearchParametersPreTransform(index_params=lists)  # type: ignore[call-arg]  # SWIG adds it
        with _threads(1):
            _, found = self.index.search(vector.reshape(1, -1), min(breadth, self.index.ntotal), params=settings)
        distinct = found[0][found[0] >= 0]
        first = self.starts[distinct].astype(np.int64)
        positions: Positions = self.members[ranges(first, self.starts[distinct + 1] - first)].astype(np.int64)
        return positions


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Immutable; any number of threads may search it."""

    flat: Any
    """faiss.IndexFlatIP"""
    short: Short | None = None

    def __len__(self) -> int:
        return int(self.flat.ntotal)

    @property
    def vectors(self) -> Vectors:
        """Shape (n, dimension), without a copy; valid as long as this object is."""
        size = len(self) * self.flat.d
        view: Vectors = faiss.rev_swig_ptr(self.flat.get_xb(), size).reshape(len(self), self.flat.d)
        return view

    def nearest(self, vector: Vectors, k: int, mask: Mask | None) -> tuple[Positions, NDArray[np.float64]]:
        """Positions and cosines of (at most) the k best among those that `mask` lets through, in no order.

        There are k whenever so many pass. The cosines are computed in double precision from the stored vectors, so that
        they do not depend on the order in which FAISS adds up.
        """
        passing = len(self) if mask is None else int(np.count_nonzero(mask))
        k = min(k, passing)
        if not k:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        found = self._by_short_way(vector, k, mask, passing)
        if found is None:
            found = _exact(self.flat, vector, k, mask)
        scores = self.flat.reconstruct_batch(found).astype(np.float64) @ vector.astype(np.float64)
        if len(found) > k:
            best = np.argpartition(scores, -k)[-k:]
            found, scores = found[best], scores[best]
        return found, scores

    def _by_short_way(self, vector: Vectors, k: int, mask: Mask | None, passing: int) -> Positions | None:
        """Candidates for the k best; None when scoring all that pass is quicker or needed.

        What passes is taken out of so many more of the nearest vectors. A search that is told of the filter would come
        back with far ones when the near ones do not pass; here it shows, in that fewer than k are left.
        """
        if self.short is None:
            return None
        share = passing / len(self)
        breadth = round(max(MIN_BREADTH, BREADTH_PER_RESULT * k) / share)
        if passing <= EXACT_PER_BREADTH * breadth:
            return None
        positions = self.short.nearest(vector, breadth)
        if mask is not None:
            positions = positions[mask[positions]]
        return positions[: round(RESCORED_PER_RESULT[self.short.kind] * k)] if len(positions) >= k else None


def flat(dimension: int, parts: Iterable[Vectors]) -> Dense:
    """Vectors of shape (n_i, dimension), one part after the other, searched exactly."""
    index = faiss.IndexFlatIP(dimension)
    for vectors in parts:
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return Dense(index)


def with_short_way(dense: Dense, kind: IndexKind) -> Dense:
    """The same vectors with a short way of that kind, when there are enough of them; one that is there is kept."""
    if kind == "flat" or len(dense) < APPROXIMATE_CHUNKS:
        return Dense(dense.flat)
    if dense.short and dense.short.kind == kind:
        return dense
    members, starts = _copies(dense.vectors)
    distinct = members[starts[:-1]]
    with _threads(usable_cores()):
        index = (_graph if kind == "hnsw" else _lists)(dense.vectors, distinct)
    return Dense(dense.flat, Short(kind, index, members, starts))


def save(dense: Dense, folder: Path) -> None:
    """Write its files into `folder`."""
    faiss.write_index(dense.flat, str(folder / _FLAT))
    if short := dense.short:
        faiss.write_index(short.index, str(folder / _SHORT.format(short.kind)))
        np.save(folder / _MEMBERS, short.members)
        np.save(folder / _STARTS, short.starts)


def load(folder: Path) -> Dense:
    """Map what `save` wrote. Raises OSError, ValueError or RuntimeError when it is not that."""
    dense = Dense(faiss.read_index(str(folder / _FLAT), faiss.IO_FLAG_MMAP_IFC))
    for kind in _SHORT_KINDS:
        path = folder / _SHORT.format(kind)
        if path.exists():
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            members, starts = (np.asarray(np.load(folder / name, mmap_mode="r")) for name in (_MEMBERS, _STARTS))
            if len(members) != len(dense) or len(starts) != index.ntotal + 1 or index.d != dense.flat.d:
                raise ValueError(f"{path} does not fit the vectors beside it")
            return Dense(dense.flat, Short(kind, index, members, starts))
    return dense


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """How many FAISS may use, for the calling thread only.

    One for a query: helpers cost more than they save there, tenfold when all cores are busy. All of them to build.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _exact(index: Any, vector: Vectors, k: int, mask: Mask | None) -> Positions:
    """At most k positions among those that `mask` lets through."""
    parameters = None
    if mask is not None:
        bits = np.packbits(mask, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # added by the SWIG wrapper
    _, found = index.search(vector.reshape(1, -1), k, params=parameters)
    positions: Positions = found[0][found[0] >= 0]
    return positions


def _copies(vectors: Vectors) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`Short.members` and `Short.starts`: distinct vectors in the order of their first appearance."""
    _, first, group = np.unique(_hashes(vectors), return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    group = rank[group]
    starts = np.concatenate([[0], np.cumsum(np.bincount(group))])
    return np.argsort(group, kind="stable").astype(np.int32), starts.astype(np.int32)


def _hashes(vectors: Vectors) -> NDArray[np.uint64]:
    """64 bits of each row. Rows that share one by chance are taken for copies, and still scored by what they are."""
    factors = np.random.default_rng(7).integers(1, 2**64, vectors.shape[1], dtype=np.uint64)
    blocks = [
        vectors[i : i + _BLOCK].view(np.uint32).astype(np.uint64) * factors for i in range(0, len(vectors), _BLOCK)
    ]
    return np.concatenate([block.sum(axis=1, dtype=np.uint64) for block in blocks])


def _graph(vectors: Vectors, distinct: NDArray[np.int32]) -> Any:
    eight_bits: Any = faiss.ScalarQuantizer.QT_8bit  # the stubs want another type
    index = faiss.IndexHNSWSQ(vectors.shape[1], eight_bits, _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BREADTH_WHILE_BUILDING
    _fill(index, vectors, distinct, sample=_BLOCK)
    return index


def _lists(vectors: Vectors, distinct: NDArray[np.int32]) -> Any:
    dimension, lists = vectors.shape[1], int(2 * len(distinct) ** 0.5)
    quantizer = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFRaBitQ(quantizer, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 8
    index.cp.min_points_per_centroid = 1  # it would complain of small segments on stderr
    rotation = faiss.RandomRotationMatrix(dimension, dimension)  # RaBitQ's bound holds for rotated vectors
    rotation.init(7)
    rotated = faiss.IndexPreTransform(rotation, index)
    _fill(rotated, vectors, distinct, sample=_TRAIN_PER_LIST * lists)
    return rotated


def _fill(index: Any, vectors: Vectors, distinct: NDArray[np.int32], *, sample: int) -> None:
    """Block by block: a copy of all vectors would cost as much memory as they do."""
    index.train(vectors[distinct[:: max(1, len(distinct) // sample)]])
    for i in range(0, len(distinct), _BLOCK):
        index.add(vectors[distinct[i : i + _BLOCK]])

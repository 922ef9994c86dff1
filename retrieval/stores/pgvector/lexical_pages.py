"""Postings cut into pages, small enough that a query reads little more than the terms it asks for.

The 64-bit range of term hashes is divided into equal parts, a power of two of them; a page holds the terms whose hash
falls into its part, so where to look for a term needs no directory. In bytes (little-endian):

    terms       u32   distinct terms in the page
    postings    u32
    hashes      u64 each, ascending
    frequency   of each term: chunks that hold it
    gaps        of each posting: the distance of its chunk from the one before it, the first of a term from zero
    counts      of each posting: occurrences, less one

The last three are packed: one byte for a value under 255, else 255 there and the value among those of two bytes, and
in the same way of four. Most gaps and nearly all counts fit one byte: 2.6 bytes a posting, where plain arrays take 6.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.stores.postings import Postings

PAGE_BYTES = 16_384
"""About so large a page; a common term's postings may make one larger."""
_NO_KEYS = np.zeros(0, dtype=np.int64)
_NO_LENGTHS = np.zeros(0, dtype=np.int32)

Values = NDArray[np.uint32]


class PageId(NamedTuple):
    """Where a page is; never given twice, so what was read once stays right."""

    edition_key: int
    segment_key: int
    page: int


class PageCache:
    """The pages used last, of all collections of a process; bounded by the bytes of their arrays. Thread-safe."""

    def __init__(self, limit: int = 64 << 20) -> None:
        self._limit = limit
        self._pages: OrderedDict[PageId, Postings] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, ids: Iterable[PageId]) -> dict[PageId, Postings]:
        """Those of `ids` that are here."""
        with self._lock:
            found = {page_id: self._pages[page_id] for page_id in ids if page_id in self._pages}
            for page_id in found:
                self._pages.move_to_end(page_id)
        return found

    def put(self, pages: Mapping[PageId, Postings]) -> None:
        """Keep pages, at the expense of those not used for longest."""
        with self._lock:
            for page_id, page in pages.items():
                if page_id not in self._pages:
                    self._pages[page_id] = page
                    self._bytes += _size(page)
            while self._bytes > self._limit:
                _, page = self._pages.popitem(last=False)
                self._bytes -= _size(page)


def pages_for(size: int) -> int:
    """How many pages to cut postings of `size` bytes into; a power of two."""
    return 1 << max(0, round(math.log2(max(1, size) / PAGE_BYTES)))


def page_of(term: int, pages: int) -> int:
    """Which of `pages` holds the term of this hash."""
    return term >> (65 - pages.bit_length())


def estimate(index: Postings) -> int:
    """About how many bytes its pages will take."""
    return 10 * len(index.terms) + 3 * len(index.positions)


def cut(index: Postings, pages: int, *, first: int = 0, last: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of the pages from `first` up to `last` (exclusive), out of `pages` in all."""
    last = pages if last is None else last
    shift = np.uint64(65 - pages.bit_length())
    # From the second on, since the end of the last page does not fit 64 bits.
    borders = np.arange(first + 1, last, dtype=np.uint64) << shift
    ends = [*np.searchsorted(index.terms, borders).tolist(), len(index.terms)]
    begin = 0
    for page, end in zip(range(first, last), ends, strict=True):
        yield page, encode(index, begin, end)
        begin = end


def encode(index: Postings, begin: int, end: int) -> bytes:
    """The terms from number `begin` up to `end` (exclusive) with their postings."""
    starts = index.starts[begin : end + 1]
    part = slice(int(starts[0]), int(starts[-1]))
    gaps = np.diff(index.positions[part], prepend=0)
    heads = (starts[:-1] - starts[0]).astype(np.intp)
    gaps[heads] = index.positions[part][heads]
    head = np.array([end - begin, part.stop - part.start], dtype="<u4")
    return b"".join(
        [
            head.tobytes(),
            index.terms[begin:end].astype("<u8").tobytes(),
            pack(np.diff(starts).astype(np.uint32)),
            pack(gaps.astype(np.uint32)),
            pack(index.counts[part].astype(np.uint32) - np.uint32(1)),
        ]
    )


def decode(data: bytes) -> Postings:
    """The postings of a page; `keys` and `lengths` are left empty, since its segment has them."""
    terms, postings = map(int, np.frombuffer(data, "<u4", 2))
    hashes = np.frombuffer(data, "<u8", terms, 8).astype(np.uint64)
    frequencies, offset = unpack(data, 8 + 8 * terms, terms)
    gaps, offset = unpack(data, offset, postings)
    counts, _ = unpack(data, offset, postings)
    starts = np.concatenate([[0], np.cumsum(frequencies, dtype=np.int64)])
    sums = np.concatenate([[0], np.cumsum(gaps, dtype=np.int64)])
    positions = (sums[1:] - np.repeat(sums[starts[:-1]], frequencies)).astype(np.int32)
    return Postings(_NO_KEYS, _NO_LENGTHS, hashes, starts, positions, (counts + np.uint32(1)).astype(np.uint16))


def pack(values: Values) -> bytes:
    """See the top of this file."""
    wide = values[values >= 0xFF]
    wider = wide[wide >= 0xFFFF]
    bytes_, shorts = np.minimum(values, 0xFF).astype("<u1"), np.minimum(wide, 0xFFFF).astype("<u2")
    return bytes_.tobytes() + shorts.tobytes() + wider.astype("<u4").tobytes()


def unpack(data: bytes, offset: int, count: int) -> tuple[Values, int]:
    """The `count` values that were packed at `offset`, and the offset behind them."""
    values = np.frombuffer(data, "<u1", count, offset).astype(np.uint32)
    offset += count
    wide = np.flatnonzero(values == 0xFF)
    if len(wide):
        shorts = np.frombuffer(data, "<u2", len(wide), offset).astype(np.uint32)
        offset += 2 * len(wide)
        wider = np.flatnonzero(shorts == 0xFFFF)
        if len(wider):
            shorts[wider] = np.frombuffer(data, "<u4", len(wider), offset)
            offset += 4 * len(wider)
        values[wide] = shorts
    return values, offset


def joined(pages: Iterable[Postings]) -> Postings:
    """Pages that follow one another as one, without keys and lengths."""
    every = list(pages)
    sizes = np.cumsum([0, *(len(page.positions) for page in every)])
    starts = [page.starts[:-1] + size for page, size in zip(every, sizes[:-1], strict=True)]
    return Postings(
        _NO_KEYS,
        _NO_LENGTHS,
        np.concatenate([page.terms for page in every]),
        np.concatenate([*starts, sizes[-1:]]).astype(np.int64),
        np.concatenate([page.positions for page in every]),
        np.concatenate([page.counts for page in every]),
    )


def _size(page: Postings) -> int:
    arrays = (page.terms, page.starts, page.positions, page.counts)
    return sum(array.nbytes for array in arrays) + 512  # what Python needs for the objects

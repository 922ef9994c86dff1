"""Do the segments of an edition hold just what lives in the catalog? Compared chunk by chunk, in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Finding
from retrieval.stores import postings
from retrieval.stores.faiss import segment as segments
from retrieval.stores.faiss.catalog import Catalog
from retrieval.stores.faiss.dense import Dense
from retrieval.stores.faiss.index_rows import IndexInput
from retrieval.stores.faiss.rows import SegmentRow
from retrieval.stores.faiss.segment import Segment, SegmentInvalid

_BLOCK = 2_048
"""Chunks compared at a time."""
_PROBES = 64
"""Vectors of a segment that are looked for by its short way."""
_FOUND = 0.75
"""Of them so many must be found. What is there is found in nearly all cases, in a broken graph hardly any."""

Terms = Callable[[str], list[str]]


def check(catalog: Catalog, edition: int, home: Path, terms: Terms) -> Iterator[Finding]:
    """What is wrong with the segments of an edition in folder `home`, at the commit that `catalog` is reading."""
    rows = catalog.segments(edition)
    yield from _ranges(catalog, edition, rows)
    dead = catalog.tombstones(edition)
    for row in rows:
        try:
            segment = segments.load(home / row.name)
        except (FileNotFoundError, SegmentInvalid) as exc:
            reason = "its folder is gone" if isinstance(exc, FileNotFoundError) else str(exc)
            yield Finding("damaged-segment", row.name, reason, edition=edition)
            continue
        if fault := _structure(segment, row) or _short_way(segment.dense):
            yield Finding("damaged-segment", row.name, fault, edition=edition)
            continue
        yield from _content(catalog, row, segment, ~segment.mask(dead), terms)


def _ranges(catalog: Catalog, edition: int, rows: Sequence[SegmentRow]) -> Iterator[Finding]:
    for before, row in pairwise(rows):
        if row.first_key <= before.last_key:
            detail = f"segments {before.name!r} and {row.name!r} cover the same keys"
            yield Finding("overlapping-segments", row.name, detail, edition=edition)
    if rows:
        between = [(a.last_key, b.first_key) for a, b in pairwise(rows)]
        for low, high in [(0, rows[0].first_key), *between]:
            count = catalog.living(edition, low + 1, high - 1)
            if count:
                detail = f"{count:,} chunks with keys from {low + 1} to {high - 1} are in no segment"
                yield Finding("uncovered-chunks", f"keys {low + 1}-{high - 1}", detail, edition=edition)


def _structure(segment: Segment, row: SegmentRow) -> str:
    """What of a segment does not fit together, in words."""
    keys = segment.keys
    if len(keys) != row.chunks:
        return f"it holds {len(keys):,} chunks, the catalog says {row.chunks:,}"
    if not len(keys) or (keys[1:] <= keys[:-1]).any() or keys[0] < row.first_key or keys[-1] > row.last_key:
        return f"its keys are not ascending from {row.first_key} to {row.last_key}"
    if (np.diff(segment.ids.starts) < 0).any() or segment.ids.starts[-1] != len(segment.ids.text):
        return "its chunk ids do not fit their text"
    return postings.fault(segment.postings, len(segment))


def _short_way(dense: Dense) -> str:
    """Whether vectors are found by the index that leads to them."""
    short = dense.short
    if short is None:
        return ""
    if short.index.ntotal != len(short.starts) - 1 or short.starts[-1] != len(dense):
        return f"its {short.kind} index holds {short.index.ntotal:,} vectors of {len(short.starts) - 1:,}"
    if not np.array_equal(np.sort(short.members), np.arange(len(dense))):
        return f"its {short.kind} index does not lead to each chunk once"
    probes = np.linspace(0, len(dense) - 1, num=_PROBES, dtype=np.int64)
    found = sum(int(probe) in short.nearest(dense.vectors[probe], _PROBES).tolist() for probe in probes)
    return "" if found >= _FOUND * _PROBES else f"its {short.kind} index finds {found} of {_PROBES} vectors"


def _content(
    catalog: Catalog, row: SegmentRow, segment: Segment, alive: NDArray[np.bool_], terms: Terms
) -> Iterator[Finding]:
    """Chunks that live in the catalog against those that live in the segment."""
    digests = postings.digests(segment.postings, len(segment))
    seen = np.zeros(len(segment), dtype=np.bool_)
    wrong: dict[str, int] = {}
    for block in _blocks(catalog, row):
        at = np.searchsorted(segment.keys, block.keys)
        at[at == len(segment)] = 0
        there = (segment.keys[at] == block.keys) & alive[at]
        _add(wrong, "are not in it", ~there)
        seen[at[there]] = True
        for what, faulty in _differences(segment, digests, block, at, terms):
            _add(wrong, what, faulty & there)
    if wrong:
        counts = ", ".join(f"{count:,} chunks {what}" for what, count in wrong.items())
        yield Finding("stale-segment", row.name, f"of what lives in its range, {counts}", edition=row.edition)
    lost = np.array([i for i in np.flatnonzero(alive & ~seen) if not _has_row(catalog, int(segment.keys[i]))], np.int64)
    if len(lost):
        detail = f"{len(lost):,} chunks live in it that the catalog does not have"
        yield Finding("stale-segment", row.name, detail, edition=row.edition)
        yield from _lost_rows(catalog, row, segment, lost)


def _differences(
    segment: Segment, digests: NDArray[np.uint64], block: IndexInput, at: NDArray[np.int64], terms: Terms
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """What of the chunks of a block is not as the segment has it; `at` says where it has them."""
    expected = postings.build(block.keys, block.texts, terms=terms)
    ids = np.array(segment.ids.at(at), dtype=object) != np.array(block.chunk_ids, dtype=object)
    yield "have another id", ids | (segment.documents[at] != block.doc_keys)
    yield "have another vector", (segment.dense.flat.reconstruct_batch(at) != block.vectors).any(axis=1)
    words = postings.digests(expected, len(block.keys)) != digests[at]
    yield "have other words", words | (segment.postings.lengths[at] != expected.lengths)


def _blocks(catalog: Catalog, row: SegmentRow) -> Iterator[IndexInput]:
    first = row.first_key
    while len((block := catalog.index_input(row.edition, first, row.last_key, limit=_BLOCK)).keys):
        yield block
        first = int(block.keys[-1]) + 1


def _add(wrong: dict[str, int], what: str, faulty: NDArray[np.bool_]) -> None:
    if count := int(np.count_nonzero(faulty)):
        wrong[what] = wrong.get(what, 0) + count


def _has_row(catalog: Catalog, key: int) -> bool:
    """Whether the chunk is there, if without its vector: `audit` tells of that."""
    return bool(list(catalog.rows("SELECT 1 FROM chunk WHERE chunk_key = ?", key)))


def _lost_rows(catalog: Catalog, row: SegmentRow, segment: Segment, lost: NDArray[np.int64]) -> Iterator[Finding]:
    """A document that is indexed, and has lost rows of chunks that the segment still knows, is to be made again."""
    for doc_key in np.unique(segment.documents[lost]).tolist():
        for (doc_id,) in catalog.rows(
            "SELECT doc_id FROM document JOIN indexed USING (doc_key) WHERE doc_key = ? AND edition = ?",
            doc_key, row.edition,
        ):  # fmt: skip
            detail = f"segment {row.name!r} has chunks of it that the catalog does not have"
            yield Finding("missing-chunks", doc_id, detail, doc_id=doc_id, edition=row.edition)

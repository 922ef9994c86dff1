"""An immutable index of some chunks, as files: vectors as `Dense`, terms as `Postings`, chunk ids.

Why not tantivy: a process that only reads could not bring its index up to the catalog without its write lock, its
statistics count deleted chunks until a merge, and a filter would apply after its top k. Here a score is exact at each
commit. `python -m evals.bench.lexical` compares their speed.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import ANALYSIS_VERSION
from retrieval.stores import postings
from retrieval.stores.faiss import dense, ids, removal
from retrieval.stores.faiss.dense import Dense, IndexKind
from retrieval.stores.faiss.ids import Ids
from retrieval.stores.faiss.index_rows import IndexInput
from retrieval.stores.postings import Mask, Postings

FORMAT = 2
_IDS, _ID_STARTS, _DOCUMENTS = "ids.npy", "id-starts.npy", "documents.npy"
_HEADER = "segment.json"


class SegmentInvalid(Exception):
    """The files are missing, damaged or of another format: build the segment again from the catalog."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Both indexes of some chunks."""

    postings: Postings
    dense: Dense
    ids: Ids
    documents: NDArray[np.int64]
    """Shape (n,): the key of each chunk's document."""

    @property
    def keys(self) -> NDArray[np.int64]:
        return self.postings.keys

    def __len__(self) -> int:
        return len(self.postings.keys)

    def positions(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], Mask]:
        """Where chunks of these keys (in any order) are, and which of them are in the segment at all."""
        if not len(self):  # all of its chunks have died
            return np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=np.bool_)
        at = np.searchsorted(self.keys, keys)
        at[at == len(self)] = 0
        return at, self.keys[at] == keys

    def mask(self, keys: NDArray[np.int64]) -> Mask:
        """Which chunks of the segment are among `keys` (ascending)."""
        if not len(keys):
            return np.zeros(len(self), dtype=np.bool_)
        found = np.searchsorted(keys, self.keys)
        found[found == len(keys)] = 0
        among: Mask = keys[found] == self.keys
        return among


def build(source: IndexInput, *, terms: Callable[[str], list[str]]) -> Segment:
    """Index chunks as the catalog gives them."""
    return Segment(
        postings.build(source.keys, source.texts, terms=terms),
        dense.flat(source.vectors.shape[1], [source.vectors]),
        ids.build(source.chunk_ids),
        source.doc_keys,
    )


def merge(segments: Sequence[Segment], alive: Sequence[Mask]) -> Segment:
    """One segment of the live chunks of several, which are given by ascending keys."""
    vectors = (segment.dense.vectors[live] for segment, live in zip(segments, alive, strict=True))
    return Segment(
        postings.merge([segment.postings for segment in segments], alive),
        dense.flat(segments[0].dense.flat.d, vectors),
        ids.merge([segment.ids for segment in segments], alive),
        np.concatenate([segment.documents[live] for segment, live in zip(segments, alive, strict=True)]),
    )


def without_dead(segment: Segment, alive: Mask) -> Segment:
    """The live chunks of one segment, with its short way where that need not be built anew."""
    rest = merge([segment], [alive])
    short = segment.dense.short and removal.without(segment.dense.short, alive)
    return replace(rest, dense=Dense(rest.dense.flat, short))


def with_short_way(segment: Segment, kind: IndexKind) -> Segment:
    """The same segment as it shall be written: with a short way to the nearest vectors when there are many."""
    return replace(segment, dense=dense.with_short_way(segment.dense, kind))


def save(segment: Segment, folder: Path) -> None:
    """Write to `folder`, which must not exist. When this returns, it is whole and on the disk; else nothing is."""
    partial = _aside(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()  # and no parents: a collection that was dropped meanwhile must not come back as an empty folder
    try:
        _write(segment, partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # when the disk is full, what was written is in the way
        raise
    _sync(folder.parent)


def remove(folder: Path) -> None:
    """Its name goes first, then file after file: nobody who opens it meanwhile takes it for damaged."""
    going = folder if folder.name.startswith(".") else _aside(folder)
    if going != folder:
        shutil.rmtree(going, ignore_errors=True)  # what a crash has left there would be in the way
    with suppress(OSError):
        folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def load(folder: Path) -> Segment:
    """Map the files of a saved segment. Raises SegmentInvalid; FileNotFoundError when the folder is gone."""
    if not folder.exists():
        raise FileNotFoundError(folder)
    try:
        header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        if (header["format"], header["analysis"]) != (FORMAT, ANALYSIS_VERSION):
            raise SegmentInvalid(f"{folder}: made by another version")
        if header["files"] != {name: (folder / name).stat().st_size for name in header["files"]}:
            raise SegmentInvalid(f"{folder}: a file has another size than was written")
        lexical = Postings(*(_mapped(folder / f"{field.name}.npy") for field in fields(Postings)))
        documents = _mapped(folder / _DOCUMENTS)
        names = Ids(_mapped(folder / _IDS), _mapped(folder / _ID_STARTS))
        vectors = dense.load(folder)
    except (OSError, ValueError, KeyError, RuntimeError, EOFError) as exc:
        if not folder.exists():
            raise FileNotFoundError(folder) from exc  # removed while we were at it
        raise SegmentInvalid(f"{folder}: {exc}") from exc
    whole = (
        len(lexical.keys) == len(lexical.lengths) == len(vectors) == len(names) == len(documents) == header["chunks"]
        and len(lexical.starts) == len(lexical.terms) + 1
        and len(lexical.positions) == len(lexical.counts) == lexical.starts[-1]
    )
    if not whole:
        raise SegmentInvalid(f"{folder}: its files do not fit each other")
    return Segment(lexical, vectors, names, documents)


def _aside(folder: Path) -> Path:
    """Where a segment is while it is written or removed; what a crash leaves there is cleared away by `repair`."""
    return folder.with_name(f".{folder.name}.partial")


def _write(segment: Segment, folder: Path) -> None:
    for field in fields(Postings):
        np.save(folder / f"{field.name}.npy", getattr(segment.postings, field.name))
    np.save(folder / _IDS, segment.ids.text)
    np.save(folder / _ID_STARTS, segment.ids.starts)
    np.save(folder / _DOCUMENTS, segment.documents)
    dense.save(segment.dense, folder)
    # Sizes, because a mapped file that was cut off ends a process that reads behind its end.
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    header = {"format": FORMAT, "analysis": ANALYSIS_VERSION, "chunks": len(segment), "files": sizes}
    (folder / _HEADER).write_text(json.dumps(header), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        _sync(path)


def _mapped(path: Path) -> NDArray[Any]:
    """As a plain array: each slice of a memmap object costs microseconds more."""
    return np.asarray(np.load(path, mmap_mode="r"))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
